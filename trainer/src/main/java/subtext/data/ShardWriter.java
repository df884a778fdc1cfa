package subtext.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import subtext.io.AtomicFiles;
import subtext.io.Digest;

/**
 * Writes documents into token shards, one after another: each under a temporary name, flushed, then renamed, so a shard is there whole or not
 * at all. Where shards end is a function of the documents, so one that goes on after a kill writes the same files.
 */
final class ShardWriter implements AutoCloseable {
    private final Path folder;
    private final int idBytes;
    private final String tokenizer;
    private final int shardBytes;
    private int shard;
    private long next;

    // the shard being written
    private FileChannel channel;
    private Path temporary;
    private ByteBuffer buffer = ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN);
    private Digest digest;
    private int[] index;
    private int documents;
    private long tokens;
    private long first;
    private long size;

    /**
     * Starts, or goes on after the shards that are there.
     *
     * @param vocabulary ids are below it
     * @param tokenizer SHA-256 of its file
     * @param shardBytes a shard ends with the document that reaches this
     */
    ShardWriter(Path folder, int vocabulary, String tokenizer, int shardBytes) throws IOException {
        this.folder = folder;
        this.idBytes = vocabulary <= 1 << 16 ? 2 : 4;
        this.tokenizer = tokenizer;
        this.shardBytes = shardBytes;
        AtomicFiles.createDirectories(folder);
        AtomicFiles.sweep(folder);
        while (Files.exists(name(folder, shard))) {
            next = TokenShard.open(name(folder, shard)).header().next();
            shard++;
        }
    }

    static Path name(Path folder, int shard) {
        return folder.resolve("shard-%05d.tok".formatted(shard));
    }

    /** Number of the first record that is not in a finished shard, or was not looked at for one. */
    long next() {
        return next;
    }

    /** Adds the document of a record; numbers rise. */
    void add(long record, Annotated document) throws IOException {
        if (channel == null) {
            open();
        }
        ByteBuffer bytes = TokenShard.encode(document, idBytes);
        if (documents == index.length) {
            index = Arrays.copyOf(index, 2 * documents);
        }
        index[documents++] = (int) size;
        for (int c = 0; c < document.thoughts().size(); c++) {
            tokens += document.document().chunks().get(c).text().size()
                    + document.thoughts().get(c).map(z -> z.tokens().size()).orElse(0);
        }
        write(bytes);
        if (size >= shardBytes) {
            finish(record + 1);
        }
    }

    private void open() throws IOException {
        temporary = folder.resolve("." + name(folder, shard).getFileName() + AtomicFiles.TEMPORARY);
        channel = FileChannel.open(
                temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING);
        channel.position(TokenShard.HEADER);
        digest = new Digest();
        index = new int[1 << 10];
        documents = 0;
        tokens = 0;
        first = next;
        size = TokenShard.HEADER;
    }

    private void write(ByteBuffer bytes) throws IOException {
        size += bytes.remaining();
        digest.add(bytes.duplicate());
        if (bytes.remaining() > buffer.remaining()) {
            AtomicFiles.writeFully(channel, buffer.flip());
            buffer.clear();
        }
        if (bytes.remaining() > buffer.remaining()) {
            AtomicFiles.writeFully(channel, bytes);
        } else {
            buffer.put(bytes);
        }
    }

    private void finish(long after) throws IOException {
        long at = size;
        ByteBuffer places = ByteBuffer.allocate(4 * documents).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < documents; i++) {
            places.putInt(index[i]);
        }
        write(places.flip());
        AtomicFiles.writeFully(channel, buffer.flip());
        buffer.clear();
        TokenShard.Header header =
                new TokenShard.Header(idBytes, documents, tokens, first, after, at, size, tokenizer, digest.hex());
        channel.position(0);
        AtomicFiles.writeFully(channel, header.encode());
        channel.force(true);
        channel.close();
        channel = null;
        AtomicFiles.move(temporary, name(folder, shard));
        shard++;
        next = after;
    }

    /** Finishes the last shard; {@code records} have been looked at. */
    void end(long records) throws IOException {
        if (channel != null) {
            finish(records);
        }
    }

    /** Leaves an unfinished shard as a leftover, which the next start sweeps away. */
    @Override
    public void close() throws IOException {
        if (channel != null) {
            channel.close();
        }
    }
}
