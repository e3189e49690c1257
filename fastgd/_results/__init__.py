"""What a fit returns: the model, what can be said of it, and its file."""
