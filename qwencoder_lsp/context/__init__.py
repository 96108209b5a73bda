"""What else matters besides the text at the cursor."""
