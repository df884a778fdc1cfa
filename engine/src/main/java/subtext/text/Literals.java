package subtext.text;

import java.util.HashMap;
import java.util.Map;

/**
 * Tokens that are taken from text whole wherever it spells them: {@code <think>} of Qwen 3, say. Of those that begin at a place the longest
 * counts, and the leftmost place comes first. A trie, so that their number costs nothing; their length is bounded.
 */
final class Literals {
    /** Longer ones are refused: reading a text takes time in proportion to it. */
    static final int LONGEST = 256;

    private static final class Node {
        private final Map<Character, Node> next = new HashMap<>(2);
        private int id = -1;
    }

    private final Node root = new Node();

    /** @param ids by content, each of 1 to {@link #LONGEST} characters */
    Literals(Map<String, Integer> ids) {
        ids.forEach((content, id) -> {
            Node node = root;
            for (int i = 0; i < content.length(); i++) {
                node = node.next.computeIfAbsent(content.charAt(i), c -> new Node());
            }
            node.id = id;
        });
    }

    /** Takes what lies between literals, and these, in order; empty stretches are left out. */
    interface Sink {
        /** @param at where the stretch begins in the whole text */
        void text(String stretch, int at);

        void literal(int id);
    }

    void each(String whole, Sink sink) {
        int begun = 0;
        int at = 0;
        while (at < whole.length()) {
            Node node = root;
            int end = -1;
            int id = -1;
            for (int i = at; i < whole.length(); i++) {
                node = node.next.get(whole.charAt(i));
                if (node == null) {
                    break;
                }
                if (node.id >= 0) {
                    id = node.id;
                    end = i + 1;
                }
            }
            if (end < 0) {
                at++;
                continue;
            }
            if (at > begun) {
                sink.text(whole.substring(begun, at), begun);
            }
            sink.literal(id);
            at = end;
            begun = end;
        }
        if (whole.length() > begun) {
            sink.text(whole.substring(begun), begun);
        }
    }
}
