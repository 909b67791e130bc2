"""Other methods of clustering, on the images, views, events and run folders of DCACN: a module each, found by its name."""
