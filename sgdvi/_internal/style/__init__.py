"""The style of all figures: colours, pens, pictures for light and dark pages, and how figures are written."""
