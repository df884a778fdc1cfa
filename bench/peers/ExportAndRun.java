import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.engine.Engine;
import subtext.io.Conversation;
import subtext.io.HuggingFace;
import subtext.io.ModelImport;
import subtext.io.Safetensors;
import subtext.model.Llama;
import subtext.model.PackedBatch;
import subtext.text.ControlTokens;
import subtext.text.Tokenizer;
import subtext.text.Tokens;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Our side of `check_transformers.py`. Reads its `plan.json`; imports and exports every folder that it names `from`, as `subtext import` and
 * `subtext export --format hf` do; and writes beside each exported folder, as NAME.json, what the engine says of it: ids and texts, the
 * logits of every position in f32, a greedy continuation. Of folders that are to be refused it writes the message.
 *
 *   java --enable-native-access=ALL-UNNAMED -cp cli/target/engine.jar bench/peers/ExportAndRun.java FOLDER/plan.json
 */
public final class ExportAndRun {
    private static final JsonMapper JSON = JsonMapper.builder().build();
    private static final int GREEDY = 24;

    private ExportAndRun() {}

    public static void main(String[] arguments) throws Exception {
        Path plan = Path.of(arguments[0]).toAbsolutePath();
        for (JsonNode model : JSON.readTree(Files.readAllBytes(plan)).path("models")) {
            String name = model.path("name").asString();
            Path folder = plan.resolveSibling(name);
            Map<String, Object> said = new LinkedHashMap<>();
            try {
                if (model.has("from")) {
                    Path imported = plan.resolveSibling(name + "-imported");
                    said.put("kept", ModelImport.run(
                            Path.of(model.path("from").asString()), imported, Safetensors.Type.F32, true).firstAdded());
                    Safetensors.Type type = Safetensors.Type.valueOf(model.path("type").asString("F32"));
                    ModelImport.run(imported, folder, type, false);
                }
                List<String> texts = new ArrayList<>();
                model.path("texts").forEach(text -> texts.add(text.asString()));
                run(folder, texts, said);
            } catch (EngineException e) {
                said.put("refused", e.getMessage());
            }
            Files.write(plan.resolveSibling(name + ".json"), JSON.writeValueAsBytes(said));
        }
    }

    private static void run(Path folder, List<String> texts, Map<String, Object> said) throws Exception {
        try (Engine engine = Engine.open(folder, Backend.CPU);
                Device device = Device.open(Backend.CPU, DeviceOptions.defaults());
                Llama llama = HuggingFace.open(folder, device, DType.F32, Llama.Capacity.scoring(256, 1))) {
            Tokenizer tokenizer = engine.tokenizer();
            Map<String, Integer> controls = new LinkedHashMap<>();
            int[] ids = tokenizer.controls().ids();
            for (int i = 0; i < ids.length; i++) {
                if (ids[i] != ControlTokens.NONE) {
                    controls.put(tokenizer.show(Tokens.of(ids[i])), ids[i]);
                }
            }
            said.put("controls", controls);
            said.put("bos", tokenizer.controls().bos());
            said.put("ends", engine.endTokens().toArray());
            said.put("turnEnd", Conversation.of(folder, llama.config(), tokenizer).turnEnd());
            List<Object> results = new ArrayList<>();
            for (String text : texts) {
                Tokens opened = tokenizer.open(text);
                Map<String, Object> result = new LinkedHashMap<>();
                result.put("text", text);
                result.put("opened", opened.toArray());
                result.put("encoded", tokenizer.encode(text).toArray());
                result.put("decoded", tokenizer.decode(tokenizer.encode(text)));
                if (!opened.isEmpty()) {
                    // the last token is a target only, so one more
                    Tokens all = Tokens.concat(opened, Tokens.of(0));
                    double[] logits = llama.logits(PackedBatch.of(List.of(PackedBatch.Sequence.next(all))));
                    int vocabulary = llama.config().vocabulary();
                    List<double[]> rows = new ArrayList<>();
                    for (int t = 0; t < opened.size(); t++) {
                        rows.add(Arrays.copyOfRange(logits, t * vocabulary, (t + 1) * vocabulary));
                    }
                    result.put("logits", rows);
                }
                results.add(result);
            }
            said.put("texts", results);
            said.put("greedy", engine.generate(texts.getFirst(), engine.greedy(GREEDY), 0).sample().tokens().toArray());
        }
    }
}
