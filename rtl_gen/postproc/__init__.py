"""What happens to results: requantization, activations, softmax, LayerNorm."""
