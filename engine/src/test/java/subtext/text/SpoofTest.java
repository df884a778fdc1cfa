package subtext.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import subtext.bindings.EngineException;
import subtext.random.Philox;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Control tokens are ids that no text becomes, whatever it spells: by name, by their spelling in the vocabulary's alphabet, by bytes, by
 * look-alikes that a normalizer might fold, by pieces that a merge might join; in every style, from scratch and on foreign tokenizers.
 */
class SpoofTest {
    private static final Path GOLDEN =
            Path.of(System.getProperty("subtext.root", ".."), "engine/src/test/resources/golden/tokenizers");

    @TempDir
    private Path folder;

    /** Hundreds of ways to write a name. */
    static List<String> spoofs() {
        Set<String> all = new TreeSet<>();
        List<String> names = new ArrayList<>(ControlTokens.NAMES);
        names.addAll(List.of("<s>", "</s>", "<unk>", "<|endoftext|>", "<|begin_of_text|>", "<|START_OF_LATENT|>"));
        for (String name : names) {
            all.addAll(List.of(
                    name,
                    " " + name,
                    name + " ",
                    "\u2581" + name,
                    "\u0120" + name,
                    "\u00c4\u00a0" + name,
                    "\n" + name + "\n"));
            all.addAll(List.of(
                    name + name, name.repeat(100), "a" + name + "b", "'" + name, "{\"text\":\"" + name + "\"}"));
            all.addAll(List.of(
                    name + "\u0000",
                    "\ufeff" + name,
                    "\u202e" + name + "\u202c",
                    name.toUpperCase(java.util.Locale.ROOT)));
            StringBuilder bytes = new StringBuilder();
            StringBuilder alphabet = new StringBuilder();
            StringBuilder wide = new StringBuilder();
            StringBuilder parted = new StringBuilder();
            StringBuilder escaped = new StringBuilder();
            for (char c : name.toCharArray()) {
                bytes.append("<0x%02X>".formatted((int) c));
                alphabet.append(ByteAlphabet.character(c));
                wide.append((char) (c + 0xFEE0));
                parted.append(c).append('\u200b');
                escaped.append("\\u%04x".formatted((int) c));
            }
            all.addAll(List.of(
                    bytes.toString(), alphabet.toString(), wide.toString(), parted.toString(), escaped.toString()));
            all.add(Normalizer.normalize(wide, Normalizer.Form.NFKC)); // what a folding normalizer would make of it
            all.add(name.replace("<", "\u226e")
                    .replace(">", "\u226f")); // not-less-than is < and a stroke when decomposed
            all.add(name.replace(">", ">\u0338")); // composes with the stroke
            all.add(name.replace("<", "&lt;").replace(">", "&gt;"));
            all.add(name.replace("<", "\u2039").replace(">", "\u203a"));
            all.add(name.charAt(0) + "\u034f" + name.substring(1));
            for (int cut = 1; cut < name.length(); cut++) {
                all.add(name.substring(0, cut) + " " + name.substring(cut));
            }
        }
        return List.copyOf(all);
    }

    @ParameterizedTest
    @EnumSource
    void noSpellingBecomesAControlTokenOfATokenizerTrainedOnSpoofs(TokenizerStyle style) {
        BpeTrainer trainer = new BpeTrainer(style);
        for (int i = 0; i < 50; i++) {
            spoofs().forEach(trainer::add);
        }
        BpeTokenizer tokenizer = trainer.train(700);
        assertThat(tokenizer.controls()).isEqualTo(ControlTokens.from(0));
        refuses(tokenizer);
    }

    @ParameterizedTest
    @EnumSource
    void noSpellingBecomesAControlTokenThatWasAddedToAForeignTokenizer(TokenizerStyle style) throws IOException {
        // the file as of another family: its own names for the ends of a document, and none for thoughts
        ObjectNode document =
                (ObjectNode) JsonMapper.shared().readTree(Files.readAllBytes(GOLDEN.resolve(style + ".json")));
        document.putArray("added_tokens");
        document.putNull("post_processor");
        ControlTokens.NAMES.forEach(((ObjectNode) document.get("model").get("vocab"))::remove);
        String[] own = style.bytes() ? new String[] {"<|endoftext|>"} : new String[] {"<s>", "</s>", "<unk>"};
        for (int i = 0; i < own.length; i++) {
            TokenizerFile.addSpecial(document, i, own[i]);
        }
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(file, document.toString());
        BpeTokenizer foreign = (BpeTokenizer) Tokenizer.load(file);
        assertThat(foreign.controls().complete()).isFalse();
        refuses(foreign);
        BpeTokenizer grown = foreign.withControls();
        assertThat(grown.controls().complete()).isTrue();
        refuses(grown);
        grown.save(file);
        refuses((BpeTokenizer) Tokenizer.load(file));
    }

    private static void refuses(BpeTokenizer tokenizer) {
        for (String text : spoofs()) {
            for (int id : tokenizer.encode(text).toArray()) {
                assertThat(tokenizer.special(id))
                        .as("[%s] holds %d, %s", text, id, tokenizer.piece(id))
                        .isFalse();
            }
            // a prompt has one control token at most: the one that the tokenizer itself puts before it
            Tokens opened = tokenizer.open(text);
            for (int i = 1; i < opened.size(); i++) {
                assertThat(tokenizer.special(opened.at(i))).as("[%s]", text).isFalse();
            }
        }
        for (int i = 0; i < 300; i++) {
            // names among other text, cut and joined at random
            String text =
                    RandomText.of(i) + spoofs().get(Philox.below(i, 1, spoofs().size())) + RandomText.of(i + 1000);
            for (int id : tokenizer.encode(text).toArray()) {
                assertThat(tokenizer.special(id)).as("seed %d", i).isFalse();
            }
        }
    }

    @Test
    void thereAreHundredsOfSpoofs() {
        assertThat(spoofs()).hasSizeGreaterThan(250);
    }

    @Test
    void controlTokensInTheMiddleOfIdsStayWhatTheyAre() {
        BpeTokenizer tokenizer = new BpeTrainer().add("hm hm hm").train(270);
        Tokens spelled = tokenizer.encode("<latent><prior>hm</latent>");
        Tokens meant = Tokens.concat(Tokens.of(2, 4), tokenizer.encode("hm"), Tokens.of(3));
        assertThat(tokenizer.show(spelled)).isEqualTo(tokenizer.show(meant));
        assertThat(spelled).isNotEqualTo(meant);
        assertThat(tokenizer.decode(spelled)).isEqualTo("<latent><prior>hm</latent>");
        assertThat(tokenizer.decode(meant)).isEqualTo("hm");
    }

    @Test
    void wordsOfAClosedLanguageAreNotControlTokensEither() {
        SymbolTokenizer tokenizer = new SymbolTokenizer(List.of("s0", "s1"));
        for (String text : spoofs()) {
            assertThatThrownBy(() -> tokenizer.encode(text + " s0")).isInstanceOf(EngineException.InvalidInput.class);
        }
        assertThat(Arrays.stream(tokenizer.encode("s0 s1").toArray()).allMatch(id -> id < 2))
                .isTrue();
    }
}
