package subtext.data;

import dev.hardwood.HardwoodContext;
import dev.hardwood.InputFile;
import dev.hardwood.metadata.ColumnChunk;
import dev.hardwood.metadata.PhysicalType;
import dev.hardwood.metadata.RowGroup;
import dev.hardwood.reader.ParquetFileReader;
import dev.hardwood.reader.RowReader;
import dev.hardwood.schema.ColumnProjection;
import dev.hardwood.schema.FileSchema;
import dev.hardwood.schema.SchemaNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import subtext.bindings.EngineException;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** The rows of a parquet file, with the columns that are asked for, as objects of JSON. */
final class ParquetRows {
    /** A column chunk over this many bytes unpacked is refused: pages are held whole. */
    private static final long LARGEST_CHUNK = 1L << 30;

    /** Told of every row, from 1. */
    interface Sink {
        void row(long number, ObjectNode row);

        void bad(long number, String what);
    }

    private ParquetRows() {}

    /** @param longest bytes of a text, at most */
    static void read(Path file, Set<String> columns, int longest, Sink sink) throws IOException {
        try (HardwoodContext context = HardwoodContext.create(1);
                ParquetFileReader reader = ParquetFileReader.open(InputFile.of(file), context)) {
            List<Column> wanted = columns(file, reader.getFileSchema(), columns);
            for (RowGroup group : reader.getFileMetaData().rowGroups()) {
                for (ColumnChunk chunk : group.columns()) {
                    long bytes = chunk.metaData().totalUncompressedSize();
                    if (columns.contains(chunk.metaData().pathInSchema().toString())
                            && (bytes < 0 || bytes > LARGEST_CHUNK)) {
                        throw new EngineException.InvalidInput(
                                "corpus: " + file + ": a row group holds " + bytes + " bytes of one column; at most "
                                        + LARGEST_CHUNK + " are read: write it with smaller row groups");
                    }
                }
            }
            try (RowReader rows = reader.buildRowReader()
                    .projection(ColumnProjection.columns(columns.toArray(String[]::new)))
                    .build()) {
                for (long number = 1; rows.hasNext(); number++) {
                    rows.next();
                    row(rows, wanted, longest, number, sink);
                }
            }
        }
    }

    private record Column(String name, PhysicalType type) {}

    private static List<Column> columns(Path file, FileSchema schema, Set<String> names) {
        List<Column> columns = new ArrayList<>();
        for (String name : names) {
            SchemaNode node = schema.getRootNode().children().stream()
                    .filter(child -> child.name().equals(name))
                    .findFirst()
                    .orElseThrow(() -> new EngineException.InvalidInput("corpus: " + file + " has no column '" + name
                            + "'; it has "
                            + schema.getRootNode().children().stream()
                                    .map(SchemaNode::name)
                                    .toList()));
            if (!(node instanceof SchemaNode.PrimitiveNode primitive) || primitive.maxRepetitionLevel() > 0) {
                throw new EngineException.InvalidInput(
                        "corpus: " + file + ": column '" + name + "': expected text, got a list or a structure");
            }
            PhysicalType type = primitive.type();
            if (type == PhysicalType.INT96 || type == PhysicalType.FIXED_LEN_BYTE_ARRAY) {
                throw new EngineException.InvalidInput(
                        "corpus: " + file + ": column '" + name + "': expected text, got " + type);
            }
            columns.add(new Column(name, type));
        }
        return columns;
    }

    private static void row(RowReader rows, List<Column> columns, int longest, long number, Sink sink) {
        ObjectNode row = JsonMapper.shared().createObjectNode();
        for (Column column : columns) {
            String name = column.name();
            if (rows.isNull(name)) {
                row.putNull(name);
                continue;
            }
            switch (column.type()) {
                case BOOLEAN -> row.put(name, rows.getBoolean(name));
                case INT32 -> row.put(name, rows.getInt(name));
                case INT64 -> row.put(name, rows.getLong(name));
                case FLOAT -> row.put(name, rows.getFloat(name));
                case DOUBLE -> row.put(name, rows.getDouble(name));
                case BYTE_ARRAY -> {
                    byte[] bytes = rows.getBinary(name);
                    if (bytes.length > longest) {
                        sink.bad(number, Corpus.tooLong(longest));
                        return;
                    }
                    try {
                        row.put(
                                name,
                                StandardCharsets.UTF_8
                                        .newDecoder()
                                        .decode(ByteBuffer.wrap(bytes))
                                        .toString());
                    } catch (CharacterCodingException e) {
                        sink.bad(number, "column '" + name + "': not UTF-8");
                        return;
                    }
                }
                case INT96, FIXED_LEN_BYTE_ARRAY -> throw new IllegalStateException("column " + name + " was refused");
            }
        }
        sink.row(number, row);
    }
}
