package subtext.bindings.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Parameter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import subtext.bindings.DType;

/** {@code subtext.h} and {@link SubtextH} must agree: a wrong type there would be memory corruption here. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class HeaderContractTest {
    private record Prototype(Class<?> result, List<Class<?>> types, List<String> names, String text) {}

    private final Map<String, Prototype> prototypes = new LinkedHashMap<>();
    private final Map<String, Integer> constants = new LinkedHashMap<>();

    @BeforeAll
    void parseTheHeader() throws IOException {
        Path root = Path.of(System.getProperty("subtext.root", ".."));
        String text = Files.readString(root.resolve("native/include/subtext.h")).replaceAll("(?s)/\\*.*?\\*/", "");
        Matcher constant = Pattern.compile("(?m)^#define\\s+(ST_\\w+)\\s+\\(?(-?\\d+)\\)?\\s*$")
                .matcher(text);
        while (constant.find()) {
            constants.put(constant.group(1), Integer.parseInt(constant.group(2)));
        }
        Matcher function = Pattern.compile("ST_API\\s+([^;(]*?)(st_\\w+)\\s*\\(([^)]*)\\)\\s*;")
                .matcher(text.replaceAll("(?m)^#.*$", ""));
        while (function.find()) {
            List<Class<?>> types = new ArrayList<>();
            List<String> names = new ArrayList<>();
            String arguments = function.group(3).strip();
            if (!arguments.equals("void")) {
                for (String argument : arguments.split(",")) {
                    Matcher parts =
                            Pattern.compile("(.*?)(\\w+)", Pattern.DOTALL).matcher(argument.strip());
                    assertThat(parts.matches()).as(argument).isTrue();
                    types.add(javaType(parts.group(1)));
                    names.add(parts.group(2));
                }
            }
            String prototype = function.group()
                    .substring("ST_API".length())
                    .replaceAll("\\s+", " ")
                    .replace(";", "")
                    .strip();
            prototypes.put(function.group(2), new Prototype(javaType(function.group(1)), types, names, prototype));
        }
        assertThat(prototypes).as("functions found in the header").hasSizeGreaterThan(45);
        assertThat(constants).as("constants found in the header").hasSizeGreaterThan(20);
    }

    private static Class<?> javaType(String c) {
        String type = c.replace("const", "").strip();
        if (type.contains("*")) {
            return MemorySegment.class;
        }
        return switch (type) {
            case "st_status", "st_dtype", "int32_t" -> int.class;
            case "int64_t", "uint64_t" -> long.class;
            case "double" -> double.class;
            default -> throw new AssertionError("a type the bindings have no rule for: " + c);
        };
    }

    private static Stream<Method> methods() {
        return Arrays.stream(SubtextH.class.getDeclaredMethods()).filter(m -> Modifier.isPublic(m.getModifiers()));
    }

    @Test
    void everyFunctionHasOneMethodAndNothingElseDoes() {
        assertThat(methods().map(Method::getName)).containsExactlyInAnyOrderElementsOf(prototypes.keySet());
    }

    @Test
    void methodsHaveTheArgumentsOfTheirPrototypesInNameOrderAndType() {
        methods().forEach(method -> {
            Prototype prototype = prototypes.get(method.getName());
            Parameter[] parameters = method.getParameters();
            assertThat(parameters[0].getType()).as(method.getName()).isEqualTo(Symbols.class);
            List<Parameter> own = Arrays.asList(parameters).subList(1, parameters.length);
            assertThat(own.stream().map(Parameter::getName))
                    .as(prototype.text())
                    .isEqualTo(prototype.names());
            assertThat(own.stream().<Class<?>>map(Parameter::getType))
                    .as(prototype.text())
                    .isEqualTo(prototype.types());
            assertThat(method.getReturnType()).as(prototype.text()).isEqualTo(prototype.result());
        });
    }

    @Test
    void handlesHaveTheTypesOfTheirPrototypes() throws IllegalAccessException, NoSuchFieldException {
        for (Map.Entry<String, Prototype> function : prototypes.entrySet()) {
            Field field = SubtextH.class.getDeclaredField(function.getKey() + "$handle");
            field.setAccessible(true);
            MethodType type = ((MethodHandle) field.get(null)).type();
            Prototype prototype = function.getValue();
            assertThat(type)
                    .as(prototype.text())
                    .isEqualTo(MethodType.methodType(prototype.result(), prototype.types())
                            .insertParameterTypes(0, MemorySegment.class));
        }
    }

    @Test
    void symbolsHoldOneAddressForEveryFunction() {
        assertThat(Arrays.stream(Symbols.class.getDeclaredFields()).map(Field::getName))
                .containsExactlyInAnyOrderElementsOf(prototypes.keySet());
    }

    @Test
    void constantsHaveTheValuesOfTheHeader() throws IllegalAccessException {
        Map<String, Integer> ours = new LinkedHashMap<>();
        for (Field field : SubtextH.class.getFields()) {
            ours.put(field.getName(), field.getInt(null));
        }
        assertThat(ours).isEqualTo(constants);
    }

    @Test
    void theJavadocShowsThePrototypes() throws IOException {
        Path root = Path.of(System.getProperty("subtext.root", ".."));
        String source = Files.readString(root.resolve("bindings/src/main/java/subtext/bindings/ffi/SubtextH.java"))
                .replaceAll("\\s*\\n\\s*\\*\\s", " ");
        assertThat(prototypes.values())
                .allSatisfy(prototype -> assertThat(source).contains("{@code " + prototype.text() + "}"));
    }

    @Test
    void elementTypesHaveTheCodesOfTheHeader() {
        for (DType dtype : DType.values()) {
            if (dtype != DType.I64) {
                assertThat(constants).containsKey("ST_" + dtype);
            }
        }
    }
}
