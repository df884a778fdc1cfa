package subtext.testing;

import com.github.luben.zstd.Zstd;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import org.xerial.snappy.Snappy;

/**
 * Writes parquet files for tests, by the format's specification (parquet.thrift, in Thrift's compact protocol): optional columns of bytes, one
 * plain page per column and row group.
 */
public final class ParquetFile {
    /** Codecs by their number in the format. */
    public enum Codec {
        UNCOMPRESSED,
        SNAPPY,
        GZIP,
        LZO,
        BROTLI,
        LZ4,
        ZSTD
    }

    private ParquetFile() {}

    /** Writes columns of equal length, texts or null, in row groups of that many rows. */
    public static Path write(Path file, Codec codec, int rowsPerGroup, LinkedHashMap<String, List<String>> columns)
            throws IOException {
        LinkedHashMap<String, List<byte[]>> bytes = new LinkedHashMap<>();
        columns.forEach((name, values) -> {
            List<byte[]> column = new ArrayList<>();
            values.forEach(value -> column.add(value == null ? null : value.getBytes(StandardCharsets.UTF_8)));
            bytes.put(name, column);
        });
        return writeBytes(file, codec, rowsPerGroup, bytes);
    }

    /** The same of bytes, which need not be text. */
    public static Path writeBytes(Path file, Codec codec, int rowsPerGroup, LinkedHashMap<String, List<byte[]>> columns)
            throws IOException {
        int rows = columns.values().iterator().next().size();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes("PAR1".getBytes(StandardCharsets.US_ASCII));
        List<Runnable> groups = new ArrayList<>();
        Thrift footer = new Thrift();
        for (int from = 0; from < rows; from += rowsPerGroup) {
            int to = Math.min(rows, from + rowsPerGroup);
            List<long[]> placed = new ArrayList<>(); // offset, unpacked, packed
            for (List<byte[]> column : columns.values()) {
                byte[] page = page(column.subList(from, to));
                byte[] packed = pack(codec, page);
                Thrift header = new Thrift();
                header.i32(1, 0).i32(2, page.length).i32(3, packed.length).struct(5);
                header.i32(1, to - from).i32(2, 0).i32(3, 3).i32(4, 3).end().end();
                byte[] head = header.bytes();
                placed.add(new long[] {out.size(), head.length + page.length, head.length + packed.length});
                out.writeBytes(head);
                out.writeBytes(packed);
            }
            int count = to - from;
            groups.add(() -> {
                footer.list(1, 12, columns.size());
                int c = 0;
                long size = 0;
                for (String name : columns.keySet()) {
                    long[] at = placed.get(c++);
                    size += at[1];
                    footer.open().i64(2, at[0]).struct(3);
                    footer.i32(1, 6).list(2, 5, 2).element(0).element(3);
                    footer.list(3, 8, 1).text(name).i32(4, codec.ordinal()).i64(5, count);
                    footer.i64(6, at[1]).i64(7, at[2]).i64(9, at[0]).end().end();
                }
                footer.i64(2, size).i64(3, count).end();
            });
        }
        footer.i32(1, 1).list(2, 12, 1 + columns.size());
        footer.open().field(4, 8).text("schema").i32(5, columns.size()).end();
        for (String name : columns.keySet()) {
            footer.open().i32(1, 6).i32(3, 1).field(4, 8).text(name).i32(6, 0).end();
        }
        footer.i64(3, rows).list(4, 12, groups.size());
        for (Runnable group : groups) {
            footer.open();
            group.run();
        }
        footer.field(6, 8).text("subtext test").end();
        byte[] foot = footer.bytes();
        out.writeBytes(foot);
        out.writeBytes(ByteBuffer.allocate(4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(foot.length)
                .array());
        out.writeBytes("PAR1".getBytes(StandardCharsets.US_ASCII));
        return Files.write(file, out.toByteArray());
    }

    /** Definition levels in bit-packed runs behind their length, then the values that are there. */
    private static byte[] page(List<byte[]> values) {
        int groups = (values.size() + 7) / 8;
        ByteArrayOutputStream levels = new ByteArrayOutputStream();
        varint(levels, (long) groups << 1 | 1);
        byte[] bits = new byte[groups];
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        for (int i = 0; i < values.size(); i++) {
            byte[] value = values.get(i);
            if (value != null) {
                bits[i / 8] |= (byte) (1 << i % 8);
                data.writeBytes(ByteBuffer.allocate(4)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .putInt(value.length)
                        .array());
                data.writeBytes(value);
            }
        }
        levels.writeBytes(bits);
        ByteArrayOutputStream page = new ByteArrayOutputStream();
        page.writeBytes(ByteBuffer.allocate(4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(levels.size())
                .array());
        page.writeBytes(levels.toByteArray());
        page.writeBytes(data.toByteArray());
        return page.toByteArray();
    }

    private static byte[] pack(Codec codec, byte[] bytes) throws IOException {
        return switch (codec) {
            case UNCOMPRESSED -> bytes;
            case SNAPPY -> Snappy.compress(bytes);
            case ZSTD -> Zstd.compress(bytes);
            case GZIP -> {
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
                    gzip.write(bytes);
                }
                yield out.toByteArray();
            }
            case LZO, BROTLI, LZ4 -> bytes; // named in the footer only: for tests of refusal
        };
    }

    private static void varint(ByteArrayOutputStream out, long value) {
        while ((value & ~0x7FL) != 0) {
            out.write((int) (value & 0x7F | 0x80));
            value >>>= 7;
        }
        out.write((int) value);
    }

    /** Thrift's compact protocol, as far as the footer needs it. */
    private static final class Thrift {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();
        private final List<Integer> last = new ArrayList<>(List.of(0));

        Thrift field(int id, int type) {
            out.write((id - last.removeLast()) << 4 | type);
            last.add(id);
            return this;
        }

        Thrift i32(int id, int value) {
            field(id, 5);
            return element(value);
        }

        Thrift i64(int id, long value) {
            field(id, 6);
            varint(out, value << 1 ^ value >> 63);
            return this;
        }

        Thrift element(int value) {
            varint(out, (value << 1 ^ value >> 31) & 0xFFFFFFFFL);
            return this;
        }

        Thrift text(String value) {
            byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
            varint(out, bytes.length);
            out.writeBytes(bytes);
            return this;
        }

        Thrift list(int id, int type, int size) {
            field(id, 9);
            if (size < 15) {
                out.write(size << 4 | type);
            } else {
                out.write(0xF0 | type);
                varint(out, size);
            }
            return this;
        }

        Thrift struct(int id) {
            field(id, 12);
            return open();
        }

        Thrift open() {
            last.add(0);
            return this;
        }

        Thrift end() {
            out.write(0);
            last.removeLast();
            return this;
        }

        byte[] bytes() {
            return out.toByteArray();
        }
    }

    /** The fields of JSON lines as columns, a line each; a field that a line lacks is null. */
    public static LinkedHashMap<String, List<String>> columns(List<Map<String, String>> records, String... names) {
        LinkedHashMap<String, List<String>> columns = new LinkedHashMap<>();
        for (String name : names) {
            List<String> column = new ArrayList<>();
            records.forEach(record -> column.add(record.get(name)));
            columns.put(name, column);
        }
        return columns;
    }
}
