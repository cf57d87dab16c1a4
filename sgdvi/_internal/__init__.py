"""What every part uses: checks of input, batches, trees of arrays, files, numbers as texts."""
