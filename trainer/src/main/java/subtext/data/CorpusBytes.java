package subtext.data;

import com.github.luben.zstd.ZstdInputStream;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.zip.GZIPInputStream;
import subtext.bindings.EngineException;

/**
 * The bytes of a corpus file, unpacked. How a file is packed is told by its first bytes and not by its name; a name that promises
 * otherwise is an error, since such a file has been damaged or renamed.
 */
final class CorpusBytes extends InputStream {
    /** Unpacked bytes from which on it is asked how far a file has grown. */
    private static final long GROWTH_FROM = 16L << 20;

    /** A file that grows beyond this is no text: repetitive text packs to a fiftieth, a bomb to a thousandth and less. */
    private static final int MOST_GROWTH = 500;

    /** What the first bytes of a file say. */
    enum Kind {
        PLAIN,
        GZIP,
        ZSTD,
        PARQUET;

        /** How the file is packed, for messages; empty if it is not. */
        String packing() {
            return switch (this) {
                case GZIP -> "gzip";
                case ZSTD -> "zstd";
                case PLAIN, PARQUET -> "";
            };
        }
    }

    private record Foreign(String start, String what, String cure) {}

    private static final List<Foreign> FOREIGN = List.of(
            new Foreign("425a68", "packed by bzip2", "unpack it: bzip2 -d"),
            new Foreign("fd377a585a00", "packed by xz", "unpack it: xz -d"),
            new Foreign("04224d18", "packed by lz4", "unpack it: lz4 -d"),
            new Foreign("504b0304", "a zip archive", "unpack it"),
            new Foreign("377abcaf271c", "a 7z archive", "unpack it"),
            new Foreign("526172211a07", "a rar archive", "unpack it"),
            new Foreign("50415245", "an encrypted parquet file", "decrypt it"),
            new Foreign("4152524f5731", "an Arrow file", "write it as parquet or JSON lines"),
            new Foreign("4f626a01", "an Avro file", "write it as parquet or JSON lines"),
            new Foreign("4f5243", "an ORC file", "write it as parquet or JSON lines"),
            new Foreign("53514c69746520666f726d6174", "an SQLite database", "write it as parquet or JSON lines"),
            new Foreign("255044462d", "a PDF document", "extract its text"),
            new Foreign("7f454c46", "a program", "name another file"),
            new Foreign("fffe0000", "text in UTF-32", "convert it: iconv -t UTF-8"),
            new Foreign("0000feff", "text in UTF-32", "convert it: iconv -t UTF-8"),
            new Foreign("fffe", "text in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
            new Foreign("feff", "text in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"));

    private static final int LONGEST_START = 16;

    private final Path file;
    private final Counting packed;
    private final InputStream unpacked;
    private final Kind kind;
    private long bytes;

    private CorpusBytes(Path file, Counting packed, Kind kind, InputStream unpacked) {
        this.file = file;
        this.packed = packed;
        this.kind = kind;
        this.unpacked = unpacked;
    }

    /**
     * What a file is.
     *
     * @throws EngineException.InvalidInput if it is something else than its name says, or something that is not read, with the cure
     */
    static Kind kind(Path file) throws IOException {
        byte[] start;
        try (InputStream in = Files.newInputStream(file)) {
            start = in.readNBytes(LONGEST_START);
        }
        Kind kind = kind(start);
        if (kind == Kind.PLAIN) {
            refuseForeign(file, start, "");
        }
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        boolean empty = start.length == 0;
        if (name.endsWith(".gz") && kind != Kind.GZIP
                || (name.endsWith(".zst") || name.endsWith(".zstd")) && kind != Kind.ZSTD
                || name.endsWith(".parquet") && kind != Kind.PARQUET) {
            throw new EngineException.InvalidInput("corpus: " + file + " is " + (empty ? "empty" : "not")
                    + (empty ? ": expected " : " ")
                    + (name.endsWith(".gz") ? "gzip data" : name.endsWith(".parquet") ? "a parquet file" : "zstd data")
                    + (empty ? "" : ", as its name says; fetch it again, or rename it"));
        }
        return kind;
    }

    private static Kind kind(byte[] start) {
        String hex = HexFormat.of().formatHex(start);
        if (hex.startsWith("1f8b")) {
            return Kind.GZIP;
        }
        if (hex.startsWith("28b52ffd") || hex.matches("5.2a4d18.*")) {
            return Kind.ZSTD;
        }
        return hex.startsWith("50415231") ? Kind.PARQUET : Kind.PLAIN;
    }

    private static void refuseForeign(Path file, byte[] start, String within) {
        String hex = HexFormat.of().formatHex(start);
        for (Foreign foreign : FOREIGN) {
            if (hex.startsWith(foreign.start())) {
                throw new EngineException.InvalidInput("corpus: " + file + within + " is " + foreign.what()
                        + ", which is not read; " + foreign.cure());
            }
        }
    }

    /** Opens a file of text, packed or not. */
    static CorpusBytes open(Path file, Kind kind) throws IOException {
        Counting packed = new Counting(Files.newInputStream(file));
        try {
            InputStream unpacked = new BufferedInputStream(
                    switch (kind) {
                        case GZIP -> new GZIPInputStream(packed, 1 << 16);
                        case ZSTD -> new ZstdInputStream(packed);
                        case PLAIN -> packed;
                        case PARQUET -> throw new IllegalArgumentException("kind: parquet is not a stream of text");
                    },
                    1 << 16);
            if (kind != Kind.PLAIN) {
                unpacked.mark(LONGEST_START);
                byte[] start = unpacked.readNBytes(LONGEST_START);
                unpacked.reset();
                if (kind(start) != Kind.PLAIN) {
                    throw new EngineException.InvalidInput(
                            "corpus: " + file + " is packed twice, or holds a parquet file; unpack it once");
                }
                refuseForeign(file, start, ", unpacked,");
            }
            return new CorpusBytes(file, packed, kind, unpacked);
        } catch (IOException | RuntimeException e) {
            packed.close();
            throw e;
        }
    }

    @Override
    public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(byte[] to, int from, int length) throws IOException {
        int n = unpacked.read(to, from, length);
        bytes += Math.max(0, n);
        if (kind != Kind.PLAIN && bytes > GROWTH_FROM && bytes / MOST_GROWTH > packed.bytes) {
            throw new EngineException.InvalidInput("corpus: " + file + " grows more than " + MOST_GROWTH
                    + "-fold when unpacked: no corpus does that; if it is one, unpack it first");
        }
        return n;
    }

    @Override
    public void close() throws IOException {
        unpacked.close();
    }

    /** Counts what is read of the file itself. */
    private static final class Counting extends InputStream {
        private final InputStream in;
        private long bytes;

        Counting(InputStream in) {
            this.in = in;
        }

        @Override
        public int read() throws IOException {
            int b = in.read();
            bytes += b < 0 ? 0 : 1;
            return b;
        }

        @Override
        public int read(byte[] to, int from, int length) throws IOException {
            int n = in.read(to, from, length);
            bytes += Math.max(0, n);
            return n;
        }

        @Override
        public int available() throws IOException {
            return in.available(); // a gzip stream looks here whether another member follows
        }

        @Override
        public void close() throws IOException {
            in.close();
        }
    }
}
