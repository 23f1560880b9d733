"""What a curvature is: symmetric operators of which only products with vectors are known."""
