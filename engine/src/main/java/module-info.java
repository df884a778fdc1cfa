/** The Llama model forward and backward, generation and scoring, tokenizers and model files. */
module subtext.engine {
    requires transitive subtext.bindings;
    requires tools.jackson.databind;

    exports subtext.engine;
    exports subtext.generate;
    exports subtext.io;
    exports subtext.model;
    exports subtext.random;
    exports subtext.text;
}
