# Short names for what one does often; `just` lists them.
default:
    @just --list

# Everything that CI runs.
ci:
    sh .ci/run

# Every test, with what it needs.
test *ARGS:
    sh tests/run.sh {{ARGS}}

# Broker, agent, phantom unit and subscriber in one process.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# The trainer; needs deploy/setup-libtorch.sh once.
trainer *ARGS:
    cargo run --release -p host-trainer --features torch -- {{ARGS}}

fmt:
    cargo fmt --all
