"""Plans from specs: facts are gathered, a model may sketch, and all that counts is computed and checked."""
