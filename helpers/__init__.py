"""What the notebooks share: data, models, training, claims, plotting."""
