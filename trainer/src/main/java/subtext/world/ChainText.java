package subtext.world;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.LongStream;
import subtext.text.Tokens;
import subtext.world.ChainWorld.Problem;
import subtext.world.ChainWorld.Split;
import tools.jackson.databind.json.JsonMapper;

/**
 * The chain world in sentences, several problems to a document:
 *
 * <pre>
 *   Start at 5. Apply c, a, f, b, d and e in turn. After step 3 the state is 9. After step 6 the state is 2.
 * </pre>
 *
 * <p>The thought beneath a readout is the steps that lead to it: {@code c takes 5 to 11. a takes 11 to 0. f takes 0 to 9.} So every part
 * of the text pipeline meets its case: sentences, chunks that hold several readouts or none, context, packing, truncation.
 *
 * @param world whose problems are told
 * @param problemsPerDocument at least 1
 */
public record ChainText(ChainWorld world, int problemsPerDocument) {
    private static final Pattern STATE = Pattern.compile("state is (\\d+)");
    private static final JsonMapper JSON = JsonMapper.builder().build();

    /**
     * Checks the size of a document.
     *
     * @throws IllegalArgumentException for less than 1 problem
     */
    public ChainText {
        if (problemsPerDocument < 1) {
            throw new IllegalArgumentException("problemsPerDocument: expected at least 1, got " + problemsPerDocument);
        }
    }

    /**
     * A stretch of the text and the true thought beneath it.
     *
     * @param from first character of the sentence that tells a state
     * @param to one past its last
     * @param thought the steps since the readout before, one sentence each
     */
    public record Passage(int from, int to, String thought) {}

    /**
     * A document in sentences.
     *
     * @param id unique in the world
     * @param text what a model may see
     * @param passages the truth beneath it, in the order of the text
     */
    public record TextDocument(String id, String text, List<Passage> passages) {
        /** Copies the list of passages. */
        public TextDocument {
            passages = List.copyOf(passages);
        }

        /**
         * {@return the true thought beneath a chunk: that of every passage that begins in it, in order; empty if none does}
         *
         * @param from first character of the chunk in the text
         * @param to one past its last
         */
        public String thought(int from, int to) {
            StringBuilder thought = new StringBuilder();
            for (Passage passage : passages) {
                if (passage.from() >= from && passage.from() < to) {
                    thought.append(thought.isEmpty() ? "" : " ").append(passage.thought());
                }
            }
            return thought.toString();
        }

        /**
         * {@return the true thoughts beneath chunks, one each, empty where nothing is told}
         *
         * @param chunks in order; concatenated they are the text
         * @throws IllegalArgumentException if they have more or fewer characters than the text
         */
        public List<String> thoughts(List<String> chunks) {
            List<String> thoughts = new ArrayList<>();
            int from = 0;
            for (String chunk : chunks) {
                thoughts.add(thought(from, from + chunk.length()));
                from += chunk.length();
            }
            if (from != text.length()) {
                throw new IllegalArgumentException(
                        "chunks: expected " + text.length() + " characters in all, got " + from);
            }
            return thoughts;
        }

        /**
         * {@return one line of a corpus file: {@code id}, {@code text}, the whole {@code thought}, and {@code passages} with their places}
         */
        public String toJson() {
            var tree = JSON.createObjectNode();
            tree.put("id", id).put("text", text).put("thought", thought(0, text.length()));
            var list = tree.putArray("passages");
            passages.forEach(passage -> list.addObject()
                    .put("from", passage.from())
                    .put("to", passage.to())
                    .put("thought", passage.thought()));
            return JSON.writeValueAsString(tree);
        }
    }

    /**
     * {@return a document of a split, made of the next {@code problemsPerDocument} problems of that split}
     *
     * @param split whose problems are told
     * @param index number of the document, from 0
     * @throws IllegalArgumentException if the split has not so many problems
     */
    public TextDocument document(Split split, long index) {
        StringBuilder text = new StringBuilder();
        List<Passage> passages = new ArrayList<>();
        String first = "";
        for (int i = 0; i < problemsPerDocument; i++) {
            Problem problem = world.problem(split, index * problemsPerDocument + i);
            first = i == 0 ? problem.id() : first;
            text.append(i == 0 ? "" : "\n\n").append(question(problem.question()));
            int told = 0;
            for (int readout : world.plan().readouts()) {
                text.append(' ');
                int from = text.length();
                text.append(told(readout, world.stateOf(problem.thought().at(readout - 1))));
                passages.add(new Passage(from, text.length(), steps(problem, told, readout)));
                told = readout;
            }
        }
        return new TextDocument("text-" + first, text.toString(), passages);
    }

    /**
     * {@return documents 0 .. count - 1 of a split}
     *
     * @param split whose problems are told
     * @param count how many documents
     * @throws IllegalArgumentException if the split has not so many problems
     */
    public List<TextDocument> documents(Split split, int count) {
        return LongStream.range(0, count)
                .mapToObj(index -> document(split, index))
                .toList();
    }

    /**
     * {@return the question in words: {@code Start at 5. Apply c, a and f in turn.}}
     *
     * @param question start state and rules, 1 + depth tokens
     */
    public String question(Tokens question) {
        StringBuilder text = new StringBuilder("Start at " + world.stateOf(question.at(0)) + ". Apply ");
        int depth = question.size() - 1;
        for (int step = 1; step <= depth; step++) {
            String between = step == 1 ? "" : step == depth ? " and " : ", ";
            text.append(between).append(letter(question, step));
        }
        return text.append(" in turn.").toString();
    }

    /**
     * {@return the last state that a text tells, such as the final answer of a problem; empty if it tells none}
     *
     * @param text in the words of this class, or a model's attempt at them
     */
    public static OptionalInt lastState(String text) {
        Matcher matcher = STATE.matcher(text);
        OptionalInt last = OptionalInt.empty();
        while (matcher.find()) {
            last = OptionalInt.of(Integer.parseInt(matcher.group(1)));
        }
        return last;
    }

    private static String told(int step, int state) {
        return "After step " + step + " the state is " + state + ".";
    }

    /** The steps after {@code from} up to {@code to}, counted from 1, one sentence each. */
    private String steps(Problem problem, int from, int to) {
        StringBuilder text = new StringBuilder();
        for (int step = from + 1; step <= to; step++) {
            int before = world.stateOf(
                    step == 1 ? problem.question().at(0) : problem.thought().at(step - 2));
            text.append(text.isEmpty() ? "" : " ")
                    .append(letter(problem.question(), step))
                    .append(" takes ")
                    .append(before)
                    .append(" to ")
                    .append(world.stateOf(problem.thought().at(step - 1)))
                    .append('.');
        }
        return text.toString();
    }

    private String letter(Tokens question, int step) {
        return ChainWorld.letter(world.generatorOf(question.at(step)));
    }
}
