package subtext.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.BitSet;
import subtext.io.AtomicFiles;

/**
 * Keys of records on disk, spread over files by their leading bits, so that records with a key in common are found with one file's keys in memory at
 * a time.
 */
final class KeyFiles implements AutoCloseable {
    private static final int ENTRY = 12;
    private static final int BUFFER = ENTRY << 10;

    private final FileChannel[] channels;
    private final ByteBuffer[] buffers;

    /** @param files a power of two */
    KeyFiles(Path folder, String name, int files) throws IOException {
        channels = new FileChannel[files];
        buffers = new ByteBuffer[files];
        for (int f = 0; f < files; f++) {
            channels[f] = FileChannel.open(
                    folder.resolve("%s-%04d".formatted(name, f)),
                    StandardOpenOption.CREATE,
                    StandardOpenOption.READ,
                    StandardOpenOption.WRITE);
            channels[f].position(channels[f].size());
            buffers[f] = ByteBuffer.allocate(BUFFER);
        }
    }

    /** Adds a key of a record; numbers of records do not fall. */
    void add(long key, int record) throws IOException {
        int f = (int) (key >>> 48) & channels.length - 1;
        ByteBuffer buffer = buffers[f];
        buffer.putLong(key).putInt(record);
        if (!buffer.hasRemaining()) {
            flush(f);
        }
    }

    private void flush(int f) throws IOException {
        AtomicFiles.writeFully(channels[f], buffers[f].flip());
        buffers[f].clear();
    }

    /** Brings everything to the disk. */
    void force() throws IOException {
        for (int f = 0; f < channels.length; f++) {
            flush(f);
            channels[f].force(true);
        }
    }

    /** Marks every record that has a key of an earlier one. */
    void later(BitSet marked) throws IOException {
        for (FileChannel channel : channels) {
            LongSet seen = new LongSet(Math.toIntExact(channel.size() / ENTRY));
            // the keys of one record do not make it its own duplicate: they differ, being of different bands
            ByteBuffer buffer = ByteBuffer.allocate(BUFFER);
            for (long at = 0; at < channel.size(); at += BUFFER) {
                buffer.clear();
                while (buffer.hasRemaining() && channel.read(buffer, at + buffer.position()) >= 0) {
                    continue;
                }
                buffer.flip();
                while (buffer.remaining() >= ENTRY) {
                    long key = buffer.getLong();
                    int record = buffer.getInt();
                    if (!seen.add(key)) {
                        marked.set(record);
                    }
                }
            }
        }
    }

    @Override
    public void close() throws IOException {
        for (FileChannel channel : channels) {
            channel.close();
        }
    }
}
