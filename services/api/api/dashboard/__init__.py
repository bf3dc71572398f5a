"""The pages for people: every one asks the API's own routes, in the name of who is signed in."""
