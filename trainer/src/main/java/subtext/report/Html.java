package subtext.report;

/** Text made safe for a page: what stands in a corpus must not become markup. */
final class Html {
    private Html() {}

    /** Usable between tags and inside quoted attributes. */
    static String text(String raw) {
        StringBuilder safe = new StringBuilder(raw.length() + 16);
        for (int i = 0; i < raw.length(); i++) {
            char c = raw.charAt(i);
            switch (c) {
                case '&' -> safe.append("&amp;");
                case '<' -> safe.append("&lt;");
                case '>' -> safe.append("&gt;");
                case '"' -> safe.append("&quot;");
                case '\'' -> safe.append("&#39;");
                default -> {
                    // a control character has no place in a page; tab and line ends do
                    safe.append(c < 0x20 && c != '\t' && c != '\n' && c != '\r' ? '\ufffd' : c);
                }
            }
        }
        return safe.toString();
    }
}
