package subtext.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.zip.CRC32C;
import subtext.bindings.EngineException;
import subtext.io.Digest;
import subtext.text.Tokens;

/**
 * A file of tokenised documents, mapped into memory: what is read of it is what is paid for. All numbers are little-endian.
 *
 * <pre>
 * 0    "SUBTXTOK"      8 bytes
 * 8    version         i32, 1
 * 12   bytes of an id  i32, 2 or 4
 * 16   documents       i64
 * 24   tokens          i64, texts and thoughts
 * 32   first           i64, number in its corpus of the first record that was looked at for this shard
 * 40   next            i64, number of the first record after it
 * 48   index           i64, where the places of the documents begin: an i32 each
 * 56   size            i64, of the file
 * 64   tokenizer       SHA-256 of its tokenizer.json
 * 96   digest          SHA-256 of everything from 132 on
 * 128  checksum        CRC-32C of 0 to 128
 * 132  documents       one after another:
 *        bytes i32, CRC-32C of them i32, then
 *        length of the id in UTF-8 i16, the id, chunks i32, and of each chunk
 *          flags i8 (1: takes a thought, 2: has one), tokens i32, if there is a thought its tokens i32, the ids of both
 * </pre>
 */
final class TokenShard {
    static final byte[] MAGIC = "SUBTXTOK".getBytes(StandardCharsets.US_ASCII);
    static final int VERSION = 1;
    static final int HEADER = 132;
    static final int CHECKED = 128;

    /** Flags of a chunk. */
    static final int LATENT = 1;

    static final int HAS_THOUGHT = 2;

    private final Path file;
    private final Header header;
    private final MappedByteBuffer bytes;

    /** What the first bytes say; see the class. */
    record Header(
            int idBytes,
            long documents,
            long tokens,
            long first,
            long next,
            long index,
            long size,
            String tokenizer,
            String digest) {
        ByteBuffer encode() {
            ByteBuffer out = ByteBuffer.allocate(HEADER).order(ByteOrder.LITTLE_ENDIAN);
            out.put(MAGIC).putInt(VERSION).putInt(idBytes);
            out.putLong(documents)
                    .putLong(tokens)
                    .putLong(first)
                    .putLong(next)
                    .putLong(index)
                    .putLong(size);
            out.put(HexFormat.of().parseHex(tokenizer)).put(HexFormat.of().parseHex(digest));
            CRC32C crc = new CRC32C();
            crc.update(out.array(), 0, CHECKED);
            return out.putInt((int) crc.getValue()).flip();
        }

        static Header decode(Path file, ByteBuffer in, long size) {
            if (size < HEADER) {
                throw damaged(file, "it has " + size + " bytes, fewer than a header");
            }
            byte[] head = new byte[HEADER];
            in.get(0, head);
            ByteBuffer read = ByteBuffer.wrap(head).order(ByteOrder.LITTLE_ENDIAN);
            byte[] magic = new byte[MAGIC.length];
            read.get(magic);
            if (!java.util.Arrays.equals(magic, MAGIC)) {
                throw damaged(file, "it does not begin as a token shard");
            }
            CRC32C crc = new CRC32C();
            crc.update(head, 0, CHECKED);
            if ((int) crc.getValue() != read.getInt(CHECKED)) {
                throw damaged(file, "the checksum of the header is wrong");
            }
            int version = read.getInt();
            if (version != VERSION) {
                throw new EngineException.InvalidInput(file + ": a token shard of version " + version
                        + ", this program reads " + VERSION + "; prepare the corpus again");
            }
            int idBytes = read.getInt();
            long documents = read.getLong();
            long tokens = read.getLong();
            long first = read.getLong();
            long next = read.getLong();
            long index = read.getLong();
            long said = read.getLong();
            byte[] tokenizer = new byte[32];
            read.get(tokenizer);
            byte[] digest = new byte[32];
            read.get(digest);
            if (said != size || index < HEADER || index + 4 * documents != size) {
                throw damaged(file, "it has " + size + " bytes, its header says " + said);
            }
            return new Header(
                    idBytes,
                    documents,
                    tokens,
                    first,
                    next,
                    index,
                    size,
                    HexFormat.of().formatHex(tokenizer),
                    HexFormat.of().formatHex(digest));
        }
    }

    private TokenShard(Path file, Header header, MappedByteBuffer bytes) {
        this.file = file;
        this.header = header;
        this.bytes = bytes;
    }

    static EngineException.CorruptFile damaged(Path file, String what) {
        return new EngineException.CorruptFile(file + ": damaged: " + what + "; prepare the corpus again");
    }

    /**
     * Maps a shard; its header is checked now, a document when it is read.
     *
     * @throws EngineException.CorruptFile if it is damaged
     */
    static TokenShard open(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            long size = channel.size();
            if (size > Integer.MAX_VALUE) {
                throw damaged(file, "it has " + size + " bytes, more than a shard may");
            }
            MappedByteBuffer bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, size);
            bytes.order(ByteOrder.LITTLE_ENDIAN);
            return new TokenShard(file, Header.decode(file, bytes, size), bytes);
        }
    }

    Header header() {
        return header;
    }

    int size() {
        return (int) header.documents();
    }

    /** The document at a place, with its thoughts; checked. */
    Annotated document(int i) {
        int at = bytes.getInt((int) header.index() + 4 * i);
        if (at < HEADER || at > header.index() - 8) {
            throw damaged(file, "document " + i + " lies outside");
        }
        int length = bytes.getInt(at);
        if (length < 0 || length > header.index() - 8 - at) {
            throw damaged(file, "document " + i + " is longer than the file");
        }
        byte[] body = new byte[length];
        bytes.get(at + 8, body);
        CRC32C crc = new CRC32C();
        crc.update(body);
        if ((int) crc.getValue() != bytes.getInt(at + 4)) {
            throw damaged(file, "the checksum of document " + i + " is wrong");
        }
        return decode(ByteBuffer.wrap(body).order(ByteOrder.LITTLE_ENDIAN), header.idBytes());
    }

    /** The digest of what the header says the digest of, read anew. */
    String bodyDigest() {
        return new Digest().add(bytes.slice(HEADER, bytes.capacity() - HEADER)).hex();
    }

    static ByteBuffer encode(Annotated annotated, int idBytes) {
        Document document = annotated.document();
        byte[] id = document.id().getBytes(StandardCharsets.UTF_8);
        long size = 8L + 2 + id.length + 4;
        for (int c = 0; c < document.chunks().size(); c++) {
            size += 5 + (long) idBytes * document.chunks().get(c).text().size();
            Optional<Annotated.Thought> thought = annotated.thoughts().get(c);
            if (thought.isPresent()) {
                size += 4 + (long) idBytes * thought.get().tokens().size();
            }
        }
        ByteBuffer out = ByteBuffer.allocate(Math.toIntExact(size)).order(ByteOrder.LITTLE_ENDIAN);
        out.position(8);
        out.putShort((short) id.length).put(id).putInt(document.chunks().size());
        for (int c = 0; c < document.chunks().size(); c++) {
            Chunk chunk = document.chunks().get(c);
            Optional<Annotated.Thought> thought = annotated.thoughts().get(c);
            out.put((byte) ((chunk.latent() ? LATENT : 0) | (thought.isPresent() ? HAS_THOUGHT : 0)));
            out.putInt(chunk.text().size());
            thought.ifPresent(z -> out.putInt(z.tokens().size()));
            put(out, chunk.text(), idBytes);
            thought.ifPresent(z -> put(out, z.tokens(), idBytes));
        }
        CRC32C crc = new CRC32C();
        crc.update(out.array(), 8, out.capacity() - 8);
        return out.putInt(0, out.capacity() - 8).putInt(4, (int) crc.getValue()).rewind();
    }

    private static void put(ByteBuffer out, Tokens tokens, int idBytes) {
        for (int i = 0; i < tokens.size(); i++) {
            if (idBytes == 2) {
                out.putShort((short) tokens.at(i));
            } else {
                out.putInt(tokens.at(i));
            }
        }
    }

    static Annotated decode(ByteBuffer in, int idBytes) {
        byte[] id = new byte[in.getShort() & 0xFFFF];
        in.get(id);
        int count = in.getInt();
        List<Chunk> chunks = new ArrayList<>(count);
        List<Optional<Annotated.Thought>> thoughts = new ArrayList<>(count);
        for (int c = 0; c < count; c++) {
            int flags = in.get();
            int text = in.getInt();
            int thought = (flags & HAS_THOUGHT) == 0 ? 0 : in.getInt();
            chunks.add(new Chunk(tokens(in, text, idBytes), (flags & LATENT) != 0));
            thoughts.add(
                    (flags & HAS_THOUGHT) == 0
                            ? Optional.empty()
                            : Optional.of(new Annotated.Thought(tokens(in, thought, idBytes), 1f)));
        }
        return new Annotated(new Document(new String(id, StandardCharsets.UTF_8), chunks), thoughts);
    }

    private static Tokens tokens(ByteBuffer in, int count, int idBytes) {
        int[] ids = new int[count];
        for (int i = 0; i < count; i++) {
            ids[i] = idBytes == 2 ? in.getShort() & 0xFFFF : in.getInt();
        }
        return Tokens.of(ids);
    }
}
