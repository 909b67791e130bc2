"""The method, exported from nbs/method: views, network, losses, settings, a step, the training loop."""
