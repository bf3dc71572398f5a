"""What operators deploy, held against what the services are: manifests, rights, images."""
