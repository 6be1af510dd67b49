"""What is known of Keras's models, wherever they come from."""
