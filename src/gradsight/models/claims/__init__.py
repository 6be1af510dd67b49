"""What files and configurations claim to hold, looked at before anything is made of it."""
