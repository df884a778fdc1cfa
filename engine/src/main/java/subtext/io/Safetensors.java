package subtext.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import subtext.bindings.EngineException;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;

/**
 * A safetensors file: eight bytes of header length (little-endian), a JSON header, and the tensors' bytes without gap or overlap.
 * Opening one checks every field of the header against the file's size, so a file that opens can be read to its end; a file that
 * breaks any rule is refused with the rule named.
 *
 * @see <a href="https://huggingface.co/docs/safetensors">the format</a>
 */
public final class Safetensors implements AutoCloseable {
    /** The longest header that the format allows, in bytes. */
    public static final long MAX_HEADER_BYTES = 100_000_000;

    /** The largest rank accepted. */
    public static final int MAX_RANK = 8;

    private static final int BUFFER_BYTES = 1 << 20;

    private static final Set<Type> FLOATING = Set.of(Type.F32, Type.BF16, Type.F16, Type.F64);

    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    /** Element types of the format; integers and booleans are carried, only the floating ones convert. */
    public enum Type {
        /** One byte, 0 or 1. */
        BOOL(1),
        /** Unsigned 8 bits. */
        U8(1),
        /** Signed 8 bits. */
        I8(1),
        /** Float of 8 bits: 5 of exponent, 2 of mantissa. */
        F8_E5M2(1),
        /** Float of 8 bits: 4 of exponent, 3 of mantissa. */
        F8_E4M3(1),
        /** Signed 16 bits. */
        I16(2),
        /** Unsigned 16 bits. */
        U16(2),
        /** IEEE half precision: 5 bits of exponent, 10 of mantissa. */
        F16(2),
        /** The upper half of a single: 8 bits of exponent, 7 of mantissa. */
        BF16(2),
        /** Signed 32 bits. */
        I32(4),
        /** Unsigned 32 bits. */
        U32(4),
        /** IEEE single precision. */
        F32(4),
        /** IEEE double precision. */
        F64(8),
        /** Signed 64 bits. */
        I64(8),
        /** Unsigned 64 bits. */
        U64(8);

        private final int bytes;

        Type(int bytes) {
            this.bytes = bytes;
        }

        /** {@return bytes of one element, 1 to 8} */
        public int bytes() {
            return bytes;
        }
    }

    /**
     * One tensor of a file.
     *
     * @param name unique in its file
     * @param type of its elements
     * @param shape outermost size first
     * @param begin first byte, counted from the end of the header
     * @param end one past the last byte
     */
    public record Info(String name, Type type, List<Long> shape, long begin, long end) {
        /** {@return number of elements, the product of the shape} */
        public long size() {
            return (end - begin) / type.bytes();
        }
    }

    /** Writes the bytes of a tensor, all of them and no more. */
    @FunctionalInterface
    public interface Content {
        /**
         * Writes at the channel's position, little-endian and row-major, as many bytes as type and shape ask for.
         *
         * @param channel owned by the caller, who checks how many bytes came
         * @throws IOException to give up: the file then stays as it was
         */
        void write(FileChannel channel) throws IOException;
    }

    /** Gives a tensor piece by piece. */
    @FunctionalInterface
    public interface Source {
        /**
         * {@return {@code n} values, row-major, first in an array that may be longer and be used again by the next call}
         *
         * @param at index of the first in the tensor
         * @param n how many, at least one; chosen by the reader
         * @throws IOException if they cannot be fetched
         */
        float[] read(long at, int n) throws IOException;
    }

    /**
     * A tensor to be written.
     *
     * @param name unique among the entries of a file
     * @param type of its elements
     * @param shape outermost size first; empty for a scalar
     * @param content called when the file is written, not before
     */
    public record Entry(String name, Type type, List<Long> shape, Content content) {
        /**
         * {@return a tensor of floats out of an array}
         *
         * @param name unique among the entries of a file
         * @param type F32, or BF16 or F16, to which values are rounded to nearest even
         * @param shape outermost size first
         * @param values hold the tensor, row-major; not copied
         * @param from index of its first value there
         * @throws IllegalArgumentException if the type is another
         */
        public static Entry floats(String name, Type type, List<Long> shape, float[] values, int from) {
            return floats(
                    name, type, shape, (at, n) -> Arrays.copyOfRange(values, from + (int) at, from + (int) at + n));
        }

        /**
         * {@return a tensor of floats that are fetched piece by piece}
         *
         * @param name unique among the entries of a file
         * @param type F32, or BF16 or F16, to which values are rounded to nearest even
         * @param shape outermost size first
         * @param source asked in order, for at most a MiB of file at a time
         * @throws IllegalArgumentException if the type is another
         */
        public static Entry floats(String name, Type type, List<Long> shape, Source source) {
            if (type != Type.F32 && type != Type.BF16 && type != Type.F16) {
                throw new IllegalArgumentException("type: expected F32, BF16 or F16, got " + type);
            }
            return new Entry(name, type, shape, out -> writeFloats(out, type, elements(shape), source));
        }

        /**
         * {@return an I32 vector of all the values}
         *
         * @param name unique among the entries of a file
         * @param values any number; not copied
         */
        public static Entry ints(String name, int[] values) {
            return new Entry(
                    name,
                    Type.I32,
                    List.of((long) values.length),
                    out -> writeChunks(out, values.length, 4, (buffer, i) -> buffer.putInt(values[(int) i])));
        }
    }

    private final Path path;
    private final FileChannel channel;
    private final long dataStart;
    private final SequencedMap<String, Info> tensors;
    private final Map<String, String> metadata;

    private Safetensors(
            Path path,
            FileChannel channel,
            long dataStart,
            SequencedMap<String, Info> tensors,
            Map<String, String> metadata) {
        this.path = path;
        this.channel = channel;
        this.dataStart = dataStart;
        this.tensors = tensors;
        this.metadata = metadata;
    }

    /**
     * Opens a file and checks its header.
     *
     * @param path the file; stays open until this is closed
     * @return its header, checked; tensors are read when asked for
     * @throws EngineException.CorruptFile if it breaks a rule of the format; the message names the file and the rule
     * @throws IOException if it cannot be read
     */
    public static Safetensors open(Path path) throws IOException {
        FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
        try {
            return read(path, channel);
        } catch (IOException | RuntimeException | Error e) {
            channel.close();
            throw e;
        }
    }

    /** {@return the tensors by name, in the order of their bytes; unmodifiable} */
    public SequencedMap<String, Info> tensors() {
        return java.util.Collections.unmodifiableSequencedMap(tensors);
    }

    /** {@return the free texts of {@code __metadata__} by their keys; empty if there are none} */
    public Map<String, String> metadata() {
        return metadata;
    }

    /**
     * {@return the tensor of that name}
     *
     * @param name as the file has it
     * @throws EngineException.CorruptFile if there is none, naming the file
     */
    public Info info(String name) {
        Info info = tensors.get(name);
        if (info == null) {
            throw corrupt(path, "no tensor " + name);
        }
        return info;
    }

    /** Takes a tensor piece by piece, in order. */
    @FunctionalInterface
    public interface Sink {
        /**
         * Takes the next values, rounded or widened to f32, in an array that is used again.
         *
         * @param at index of the first of these values in the tensor, row-major
         * @param values overwritten after the call: to be copied if they are to be kept
         * @throws IOException to stop the reading
         */
        void accept(long at, float[] values) throws IOException;
    }

    /**
     * A floating tensor widened (or, from F64, rounded) to f32, in pieces of at most a MiB of file: nothing else is held.
     *
     * @param name as the file has it
     * @param sink called in order, with every value once
     * @throws EngineException.CorruptFile if there is no such tensor, it holds no floats, or the file ends early
     * @throws IOException if the file cannot be read, or the sink throws it
     */
    public void floats(String name, Sink sink) throws IOException {
        Info info = info(name);
        if (!FLOATING.contains(info.type())) {
            throw corrupt(path, "tensor " + name + " is " + info.type() + ", expected F32, BF16, F16 or F64");
        }
        ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        float[] values = new float[0];
        for (long at = info.begin(); at < info.end(); at += buffer.capacity()) {
            buffer.clear().limit((int) Math.min(buffer.capacity(), info.end() - at));
            readFully(channel, buffer, dataStart + at, path);
            int n = buffer.flip().limit() / info.type().bytes();
            values = values.length == n ? values : new float[n];
            widen(buffer, info.type(), values);
            sink.accept((at - info.begin()) / info.type().bytes(), values);
        }
    }

    private static void widen(ByteBuffer from, Type type, float[] to) {
        switch (type) {
            case F32 -> from.asFloatBuffer().get(to);
            case BF16 -> {
                for (int i = 0; i < to.length; i++) {
                    to[i] = Float.intBitsToFloat(from.getShort(2 * i) << 16);
                }
            }
            case F16 -> {
                for (int i = 0; i < to.length; i++) {
                    to[i] = Float.float16ToFloat(from.getShort(2 * i));
                }
            }
            case F64 -> {
                for (int i = 0; i < to.length; i++) {
                    to[i] = (float) from.getDouble(8 * i);
                }
            }
            default -> throw new IllegalArgumentException("type: " + type);
        }
    }

    /**
     * {@return some values of a floating tensor as f32, row-major}
     *
     * @param name as the file has it
     * @param at index of the first
     * @param n how many
     * @throws IndexOutOfBoundsException if the tensor has no such values
     * @throws EngineException.CorruptFile if there is no such tensor, it holds no floats, or the file ends early
     * @throws IOException if the file cannot be read
     */
    public float[] floats(String name, long at, int n) throws IOException {
        Info info = info(name);
        if (!FLOATING.contains(info.type())) {
            throw corrupt(path, "tensor " + name + " is " + info.type() + ", expected F32, BF16, F16 or F64");
        }
        java.util.Objects.checkFromIndexSize(at, n, info.size());
        int bytes = Math.multiplyExact(n, info.type().bytes());
        ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
        readFully(channel, buffer, dataStart + info.begin() + at * info.type().bytes(), path);
        float[] values = new float[n];
        widen(buffer.flip(), info.type(), values);
        return values;
    }

    /**
     * A whole floating tensor as f32, into a part of an array.
     *
     * @param name as the file has it
     * @param to written from {@code from} on, row-major
     * @param from place of the first value
     * @throws IndexOutOfBoundsException if it does not fit there
     * @throws EngineException.CorruptFile if there is no such tensor, it holds no floats, or the file ends early
     * @throws IOException if the file cannot be read
     */
    public void floats(String name, float[] to, int from) throws IOException {
        java.util.Objects.checkFromIndexSize(from, Math.toIntExact(info(name).size()), to.length);
        floats(name, (at, values) -> System.arraycopy(values, 0, to, from + (int) at, values.length));
    }

    /**
     * {@return a whole floating tensor as f32, row-major}
     *
     * @param name as the file has it
     * @throws EngineException.CorruptFile if there is no such tensor, it holds no floats, or the file ends early
     * @throws IOException if the file cannot be read
     */
    public float[] floats(String name) throws IOException {
        float[] values = new float[Math.toIntExact(info(name).size())];
        floats(name, values, 0);
        return values;
    }

    /**
     * {@return a whole I32 tensor, row-major}
     *
     * @param name as the file has it
     * @throws EngineException.CorruptFile if there is no such tensor, it is not I32, or the file ends early
     * @throws IOException if the file cannot be read
     */
    public int[] ints(String name) throws IOException {
        Info info = info(name);
        if (info.type() != Type.I32) {
            throw corrupt(path, "tensor " + name + " is " + info.type() + ", expected I32");
        }
        int[] values = new int[Math.toIntExact(info.size())];
        int[] at = {0};
        readChunks(info, buffer -> values[at[0]++] = buffer.getInt());
        return values;
    }

    /**
     * {@return the bytes of a tensor as they are in the file, little-endian and row-major}
     *
     * @param name as the file has it; of any type
     * @throws EngineException.CorruptFile if there is no such tensor, or the file ends early
     * @throws IOException if the file cannot be read
     */
    public byte[] bytes(String name) throws IOException {
        Info info = info(name);
        ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(info.end() - info.begin()));
        readFully(channel, bytes, dataStart + info.begin(), path);
        return bytes.array();
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }

    // ---- reading

    private static Safetensors read(Path path, FileChannel channel) throws IOException {
        long fileBytes = channel.size();
        if (fileBytes < 8) {
            throw corrupt(path, "has " + fileBytes + " bytes, too few for the header length (8)");
        }
        ByteBuffer prefix = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
        readFully(channel, prefix, 0, path);
        long headerBytes = prefix.getLong(0);
        if (headerBytes < 0 || headerBytes > MAX_HEADER_BYTES) {
            throw corrupt(path, "header length " + Long.toUnsignedString(headerBytes) + " exceeds " + MAX_HEADER_BYTES);
        }
        if (headerBytes > fileBytes - 8) {
            throw corrupt(path, "header length " + headerBytes + " exceeds the file's " + fileBytes + " bytes");
        }
        if (headerBytes < 2) {
            throw corrupt(path, "header length " + headerBytes + " is too short for a JSON object");
        }
        ByteBuffer header = ByteBuffer.allocate((int) headerBytes);
        readFully(channel, header, 8, path);
        Map<String, String> metadata = new LinkedHashMap<>();
        List<Info> infos = parse(path, header.flip(), metadata);
        SequencedMap<String, Info> tensors = check(path, infos, fileBytes - 8 - headerBytes);
        return new Safetensors(path, channel, 8 + headerBytes, tensors, Map.copyOf(metadata));
    }

    private static List<Info> parse(Path path, ByteBuffer header, Map<String, String> metadata) {
        if (header.get(0) != '{') {
            throw corrupt(path, "header does not begin with {");
        }
        CharBuffer text;
        try {
            text = StandardCharsets.UTF_8
                    .newDecoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT)
                    .decode(header);
        } catch (CharacterCodingException e) {
            throw corrupt(path, "header is not UTF-8");
        }
        List<Info> infos = new ArrayList<>();
        try (JsonParser json =
                JSON.createParser(ObjectReadContext.empty(), text.array(), text.arrayOffset(), text.length())) {
            json.nextToken();
            while (json.nextToken() == JsonToken.PROPERTY_NAME) {
                String name = json.currentName();
                if (name.equals("__metadata__")) {
                    parseMetadata(path, json, metadata);
                } else {
                    infos.add(parseInfo(path, json, name));
                }
            }
            if (json.nextToken() != null) {
                throw corrupt(path, "header goes on after its JSON object");
            }
        } catch (JacksonException e) {
            throw corrupt(path, "header is not valid JSON: " + JsonProblem.of(e));
        }
        return infos;
    }

    private static void parseMetadata(Path path, JsonParser json, Map<String, String> metadata) {
        if (json.nextToken() != JsonToken.START_OBJECT) {
            throw corrupt(path, "__metadata__ is not an object");
        }
        while (json.nextToken() == JsonToken.PROPERTY_NAME) {
            String key = json.currentName();
            if (json.nextToken() != JsonToken.VALUE_STRING) {
                throw corrupt(path, "__metadata__." + key + " is not a string");
            }
            metadata.put(key, json.getString());
        }
    }

    private static Info parseInfo(Path path, JsonParser json, String name) {
        if (json.nextToken() != JsonToken.START_OBJECT) {
            throw corrupt(path, "tensor " + name + " is not an object");
        }
        Type type = null;
        List<Long> shape = null;
        List<Long> offsets = null;
        while (json.nextToken() == JsonToken.PROPERTY_NAME) {
            String key = json.currentName();
            json.nextToken();
            switch (key) {
                case "dtype" -> type = parseType(path, json, name);
                case "shape" -> shape = parseLongs(path, json, name, key, MAX_RANK);
                case "data_offsets" -> offsets = parseLongs(path, json, name, key, 2);
                default -> throw corrupt(path, "tensor " + name + " has an unknown field " + key);
            }
        }
        if (type == null || shape == null || offsets == null) {
            throw corrupt(
                    path,
                    "tensor " + name + " lacks " + (type == null ? "dtype" : shape == null ? "shape" : "data_offsets"));
        }
        if (offsets.size() != 2) {
            throw corrupt(path, "tensor " + name + ": data_offsets has " + offsets.size() + " numbers, expected 2");
        }
        if (shape.isEmpty()) {
            throw corrupt(path, "tensor " + name + " has rank 0, expected 1 to " + MAX_RANK);
        }
        return new Info(name, type, shape, offsets.get(0), offsets.get(1));
    }

    private static Type parseType(Path path, JsonParser json, String name) {
        if (json.currentToken() != JsonToken.VALUE_STRING) {
            throw corrupt(path, "tensor " + name + ": dtype is not a string");
        }
        String text = json.getString();
        for (Type type : Type.values()) {
            if (type.name().equals(text)) {
                return type;
            }
        }
        throw corrupt(path, "tensor " + name + " has an unknown dtype " + text);
    }

    private static List<Long> parseLongs(Path path, JsonParser json, String name, String key, int most) {
        if (json.currentToken() != JsonToken.START_ARRAY) {
            throw corrupt(path, "tensor " + name + ": " + key + " is not an array");
        }
        List<Long> values = new ArrayList<>();
        while (json.nextToken() != JsonToken.END_ARRAY) {
            if (values.size() == most) {
                throw corrupt(path, "tensor " + name + ": " + key + " has more than " + most + " numbers");
            }
            if (json.currentToken() != JsonToken.VALUE_NUMBER_INT) {
                throw corrupt(path, "tensor " + name + ": " + key + " holds something that is not an integer");
            }
            java.math.BigInteger value = json.getBigIntegerValue();
            if (value.signum() < 0) {
                throw corrupt(path, "tensor " + name + ": " + key + " holds a negative number " + value);
            }
            if (value.bitLength() > 63) {
                throw corrupt(path, "tensor " + name + ": " + key + " holds a number of 2^63 or more");
            }
            values.add(value.longValue());
        }
        return List.copyOf(values);
    }

    private static SequencedMap<String, Info> check(Path path, List<Info> infos, long dataBytes) {
        infos.sort(Comparator.comparingLong(Info::begin).thenComparingLong(Info::end));
        SequencedMap<String, Info> tensors = new LinkedHashMap<>();
        long at = 0;
        for (Info info : infos) {
            String tensor = "tensor " + info.name();
            if (info.end() < info.begin()) {
                throw corrupt(path, tensor + " ends at " + info.end() + " before it begins at " + info.begin());
            }
            if (info.end() > dataBytes) {
                throw corrupt(path, tensor + " ends at " + info.end() + ", past the " + dataBytes + " bytes of data");
            }
            if (info.begin() < at) {
                throw corrupt(
                        path, tensor + " begins at " + info.begin() + " and overlaps the tensor that ends at " + at);
            }
            if (info.begin() > at) {
                throw corrupt(path, tensor + " begins at " + info.begin() + " and leaves a hole after " + at);
            }
            long bytes = info.type().bytes();
            try {
                for (long size : info.shape()) {
                    bytes = Math.multiplyExact(bytes, size);
                }
            } catch (ArithmeticException e) {
                throw corrupt(path, tensor + ": the product of shape " + info.shape() + " overflows");
            }
            if (bytes != info.end() - info.begin()) {
                throw corrupt(
                        path,
                        tensor + " has " + (info.end() - info.begin()) + " bytes, its shape " + info.shape()
                                + " and dtype " + info.type() + " need " + bytes);
            }
            tensors.put(info.name(), info);
            at = info.end();
        }
        if (at != dataBytes) {
            throw corrupt(path, (dataBytes - at) + " bytes follow the last tensor");
        }
        return tensors;
    }

    @FunctionalInterface
    private interface ReadElement {
        void read(ByteBuffer buffer);
    }

    private void readChunks(Info info, ReadElement element) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (long at = info.begin(); at < info.end(); at += buffer.capacity()) {
            buffer.clear().limit((int) Math.min(buffer.capacity(), info.end() - at));
            readFully(channel, buffer, dataStart + at, path);
            buffer.flip();
            while (buffer.hasRemaining()) {
                element.read(buffer);
            }
        }
    }

    private static void readFully(FileChannel channel, ByteBuffer to, long at, Path path) throws IOException {
        while (to.hasRemaining()) {
            int n = channel.read(to, at);
            if (n < 0) {
                throw corrupt(path, "ended while being read, at byte " + at);
            }
            at += n;
        }
    }

    private static EngineException.CorruptFile corrupt(Path path, String what) {
        return new EngineException.CorruptFile(path + ": " + what);
    }

    // ---- writing

    /**
     * Writes a file atomically: tensors in the order given, header padded with spaces so that the data begin at a multiple of 8.
     *
     * @param path where to; an existing one is replaced
     * @param entries with distinct names, none of them {@code __metadata__}
     * @param metadata free texts; {@code format: pt} is what Transformers looks for
     * @throws IllegalArgumentException if a name is taken
     * @throws IOException if it cannot be written, or the content of an entry is not as long as its shape says
     */
    public static void write(Path path, List<Entry> entries, Map<String, String> metadata) throws IOException {
        byte[] header = header(entries, metadata);
        AtomicFiles.write(path, channel -> {
            ByteBuffer prefix = ByteBuffer.allocate(8)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putLong(header.length)
                    .flip();
            AtomicFiles.writeFully(channel, prefix);
            AtomicFiles.writeFully(channel, ByteBuffer.wrap(header));
            for (Entry entry : entries) {
                long begin = channel.position();
                entry.content().write(channel);
                long bytes = elements(entry.shape()) * entry.type().bytes();
                if (channel.position() - begin != bytes) {
                    throw new IOException(
                            entry.name() + ": wrote " + (channel.position() - begin) + " bytes, announced " + bytes);
                }
            }
        });
    }

    private static byte[] header(List<Entry> entries, Map<String, String> metadata) {
        StringBuilder json = new StringBuilder("{");
        if (!metadata.isEmpty()) {
            json.append("\"__metadata__\":{");
            metadata.entrySet().stream().sorted(Map.Entry.comparingByKey()).forEach(e -> {
                json.append(json.charAt(json.length() - 1) == '{' ? "" : ",");
                quote(json, e.getKey()).append(':');
                quote(json, e.getValue());
            });
            json.append("}");
        }
        Set<String> names = new HashSet<>();
        long at = 0;
        for (Entry entry : entries) {
            if (!names.add(entry.name()) || entry.name().equals("__metadata__")) {
                throw new IllegalArgumentException("entries: the name " + entry.name() + " is taken");
            }
            long end = at + elements(entry.shape()) * entry.type().bytes();
            json.append(json.length() == 1 ? "" : ",");
            quote(json, entry.name())
                    .append(":{\"dtype\":\"")
                    .append(entry.type())
                    .append("\",\"shape\":[");
            for (int i = 0; i < entry.shape().size(); i++) {
                json.append(i == 0 ? "" : ",").append(entry.shape().get(i));
            }
            json.append("],\"data_offsets\":[")
                    .append(at)
                    .append(',')
                    .append(end)
                    .append("]}");
            at = end;
        }
        json.append('}');
        byte[] bytes = json.toString().getBytes(StandardCharsets.UTF_8);
        byte[] padded = Arrays.copyOf(bytes, (bytes.length + 7) / 8 * 8);
        Arrays.fill(padded, bytes.length, padded.length, (byte) ' ');
        return padded;
    }

    private static StringBuilder quote(StringBuilder json, String text) {
        json.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"', '\\' -> json.append('\\').append(c);
                default -> {
                    if (c < 0x20) {
                        json.append(String.format("\\u%04x", (int) c));
                    } else {
                        json.append(c);
                    }
                }
            }
        }
        return json.append('"');
    }

    @FunctionalInterface
    private interface WriteElement {
        void write(ByteBuffer buffer, long i);
    }

    private static void writeChunks(FileChannel out, long count, int bytes, WriteElement element) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (long i = 0; i < count; i++) {
            element.write(buffer, i);
            if (buffer.remaining() < bytes || i == count - 1) {
                AtomicFiles.writeFully(out, buffer.flip());
                buffer.clear();
            }
        }
    }

    private static void writeFloats(FileChannel out, Type type, long count, Source source) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        int piece = BUFFER_BYTES / type.bytes();
        for (long at = 0; at < count; at += piece) {
            int n = (int) Math.min(piece, count - at);
            float[] values = source.read(at, n);
            buffer.clear();
            switch (type) {
                case F32 -> buffer.asFloatBuffer().put(values, 0, n);
                case BF16 -> {
                    for (int i = 0; i < n; i++) {
                        buffer.putShort(2 * i, toBf16(values[i]));
                    }
                }
                default -> {
                    for (int i = 0; i < n; i++) {
                        buffer.putShort(2 * i, Float.floatToFloat16(values[i]));
                    }
                }
            }
            AtomicFiles.writeFully(out, buffer.limit(n * type.bytes()));
        }
    }

    private static long elements(List<Long> shape) {
        return shape.stream().reduce(1L, Math::multiplyExact);
    }

    /**
     * {@return the bf16 nearest to a float, ties to even; a NaN stays one}
     *
     * @param value any float; one too large for bf16 becomes infinite
     */
    public static short toBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            return (short) (bits >>> 16 | 0x40);
        }
        return (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
    }
}
