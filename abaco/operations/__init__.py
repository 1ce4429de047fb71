"""What can be done with Abaco, one module per noun."""
