#!/bin/sh
# Fills the corpus of `lower` with the small ones of the graphs in a folder of suite/make_graphs.py's:
#   python suite/make_graphs.py graphs --only random && sh fuzz/seed.sh graphs
set -eu
graphs=$1
corpus=$(dirname "$0")/corpus/lower
mkdir -p "$corpus"
find "$graphs" -name model.onnx -size -64k | while read -r model; do
    cp "$model" "$corpus/$(basename "$(dirname "$model")").onnx"
done
ls "$corpus" | wc -l
