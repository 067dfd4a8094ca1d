"""The same training in PyTorch, as somebody who knows PyTorch well would write it."""
