"""Float training of the demo models: recipes, data sets and the training loop."""
