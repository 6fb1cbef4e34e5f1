"""The types of the project's JavaScript, checked by TypeScript (`make types`)."""
