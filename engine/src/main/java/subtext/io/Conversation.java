package subtext.io;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import subtext.bindings.EngineException;
import subtext.model.LlamaConfig;
import subtext.text.ControlTokens;
import subtext.text.Tokenizer;
import subtext.text.Tokens;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.MissingNode;

/**
 * How a model is talked to, as its folder says beside sizes, tokenizer and weights: which tokens end what it says, and how messages become
 * a text. It is handed on from import to export. Templates are programs in Jinja; they are kept as they are and never run here.
 *
 * @param endTokens ids of which each ends a generation, distinct, in the order of {@code generation_config.json}
 * @param turnEnd the one that {@code tokenizer_config.json} calls {@code eos_token} and templates may put behind a message;
 *     {@link ControlTokens#NONE} where there is no end token at all
 * @param templates chat templates by name; the one that is meant where none is named is {@link #DEFAULT}
 */
public record Conversation(Tokens endTokens, int turnEnd, SortedMap<String, String> templates) {
    /** The name of the template that is meant where none is named. */
    public static final String DEFAULT = "default";

    static final String GENERATION = "generation_config.json";
    static final String TOKENIZER_CONFIG = "tokenizer_config.json";
    private static final String TEMPLATE = "chat_template.jinja";
    private static final String MORE_TEMPLATES = "additional_chat_templates";

    /** The largest in use have some 10 kB, 1.2 MB, 30 kB; three or four end tokens, three templates. */
    private static final int MOST_GENERATION = 1 << 20;

    private static final int MOST_TOKENIZER_CONFIG = 8 << 20;
    private static final int MOST_TEMPLATE = 1 << 20;
    private static final int MOST_END_TOKENS = 64;
    private static final int MOST_TEMPLATES = 16;

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_-]{1,64}");

    /** Copies the templates. */
    public Conversation {
        templates = Collections.unmodifiableSortedMap(new TreeMap<>(templates));
    }

    /**
     * {@return what is true of a model whose folder says nothing: its texts end with {@code <eos>}, and it has no template}
     *
     * @param tokenizer of the model
     */
    public static Conversation of(Tokenizer tokenizer) {
        int eos = tokenizer.controls().eos();
        return new Conversation(eos == ControlTokens.NONE ? Tokens.EMPTY : Tokens.of(eos), eos, new TreeMap<>());
    }

    /**
     * Reads what a folder says.
     *
     * @param folder a model in Hugging Face's layout
     * @param config its sizes
     * @param tokenizer its tokenizer, or that with control tokens added
     * @return its end tokens, the tokenizer's own {@code <eos>} among them, and its templates, if it has any
     * @throws EngineException.CorruptFile if a file is damaged or holds something else than end tokens or templates
     * @throws EngineException.InvalidInput if a file is larger than any in use
     * @throws IOException if a file cannot be read
     */
    public static Conversation of(Path folder, LlamaConfig config, Tokenizer tokenizer) throws IOException {
        Tokens ends = endTokens(folder, config, tokenizer);
        Path file = folder.resolve(TOKENIZER_CONFIG);
        JsonNode settings = optional(file, MOST_TOKENIZER_CONFIG);
        SortedMap<String, String> templates = inFiles(folder);
        return new Conversation(
                ends,
                turnEnd(settings.path("eos_token"), ends, tokenizer),
                templates.isEmpty() ? templates(file, settings.path("chat_template")) : templates);
    }

    // ---- end tokens

    /**
     * {@return the end tokens alone: those of {@code generation_config.json}, or else of {@code config.json}, and {@code <eos>}}
     *
     * @param folder a model in Hugging Face's layout
     * @param config its sizes; an id for which it has no row is left out, for it is never drawn
     * @param tokenizer its tokenizer, or that with control tokens added
     * @throws EngineException.CorruptFile if {@code eos_token_id} is something else than an id, some, or null
     * @throws EngineException.InvalidInput if a file is larger than any in use
     * @throws IOException if a file cannot be read
     */
    public static Tokens endTokens(Path folder, LlamaConfig config, Tokenizer tokenizer) throws IOException {
        Path file = folder.resolve(GENERATION);
        JsonNode said = optional(file, MOST_GENERATION).path("eos_token_id");
        if (said.isMissingNode() || said.isNull()) {
            file = folder.resolve(HuggingFace.CONFIG);
            said = HuggingFace.json(file).path("eos_token_id");
        }
        if (said.isMissingNode() || said.isNull()) {
            return of(tokenizer).endTokens();
        }
        IntStream ids = said.isArray() ? several(file, said) : IntStream.of(id(file, said));
        return Tokens.of(IntStream.concat(ids, IntStream.of(tokenizer.controls().eos()))
                .filter(id -> id >= 0 && id < Math.max(config.vocabulary(), tokenizer.vocabulary()))
                .distinct()
                .toArray());
    }

    private static IntStream several(Path file, JsonNode ids) {
        if (ids.size() > MOST_END_TOKENS) {
            throw new EngineException.CorruptFile(
                    file + ": eos_token_id: expected at most " + MOST_END_TOKENS + " ids, got " + ids.size());
        }
        int[] all = new int[ids.size()];
        Arrays.setAll(all, i -> id(file, ids.path(i)));
        return Arrays.stream(all);
    }

    private static int id(Path file, JsonNode node) {
        if (!node.isIntegralNumber() || !node.canConvertToInt()) {
            throw new EngineException.CorruptFile(file + ": eos_token_id: expected an id or a list of ids");
        }
        return node.intValue();
    }

    /** The end token that is written so, or {@code <eos>}. */
    private static int turnEnd(JsonNode token, Tokens ends, Tokenizer tokenizer) {
        String text = token.isObject() ? token.path("content").asString("") : token.isString() ? token.asString() : "";
        for (int i = 0; i < ends.size(); i++) {
            if (ends.at(i) < tokenizer.vocabulary()
                    && tokenizer.show(Tokens.of(ends.at(i))).equals(text)) {
                return ends.at(i);
            }
        }
        return tokenizer.controls().eos();
    }

    // ---- templates

    /** Transformers 5 writes a file for each; where there is one, what the settings have does not count. */
    private static SortedMap<String, String> inFiles(Path folder) throws IOException {
        SortedMap<String, String> templates = new TreeMap<>();
        Path file = folder.resolve(TEMPLATE);
        if (Files.exists(file)) {
            templates.put(DEFAULT, WholeFile.text(file, MOST_TEMPLATE));
        }
        Path more = folder.resolve(MORE_TEMPLATES);
        if (Files.isDirectory(more)) {
            try (DirectoryStream<Path> files = Files.newDirectoryStream(more, "*.jinja")) {
                for (Path each : files) {
                    String name = each.getFileName().toString().replaceFirst("\\.jinja$", "");
                    put(more, templates, name, WholeFile.text(each, MOST_TEMPLATE));
                }
            }
        }
        return templates;
    }

    private static SortedMap<String, String> templates(Path file, JsonNode said) {
        SortedMap<String, String> templates = new TreeMap<>();
        if (said.isString()) {
            put(file, templates, DEFAULT, said.asString());
        } else if (said.isArray()) {
            for (JsonNode each : said) {
                if (!each.path("name").isString() || !each.path("template").isString()) {
                    throw new EngineException.CorruptFile(
                            file + ": chat_template: expected a name and a template, as texts, in each of a list");
                }
                put(
                        file,
                        templates,
                        each.path("name").asString(),
                        each.path("template").asString());
            }
        } else if (!said.isMissingNode() && !said.isNull()) {
            throw new EngineException.CorruptFile(file + ": chat_template: expected a text, or a list of them by name");
        }
        return templates;
    }

    private static void put(Path where, SortedMap<String, String> templates, String name, String template) {
        if (templates.size() == MOST_TEMPLATES) {
            throw new EngineException.CorruptFile(where + ": more than " + MOST_TEMPLATES + " chat templates");
        }
        if (!NAME.matcher(name).matches()) {
            throw new EngineException.CorruptFile(
                    where + ": a chat template's name: expected up to 64 letters, digits, - and _");
        }
        if (template.length() > MOST_TEMPLATE
                || !StandardCharsets.UTF_8.newEncoder().canEncode(template)) {
            throw new EngineException.CorruptFile(where + ": chat template " + name + ": expected at most "
                    + MOST_TEMPLATE + " characters, no half of a surrogate pair among them");
        }
        if (templates.put(name, template) != null) {
            throw new EngineException.CorruptFile(where + ": chat template " + name + " is given twice");
        }
    }

    private static JsonNode optional(Path file, int most) throws IOException {
        return Files.exists(file) ? HuggingFace.settings(file, most) : MissingNode.getInstance();
    }
}
