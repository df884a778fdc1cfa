package subtext.cli;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import java.util.Arrays;
import subtext.bindings.EngineException;

/** Dependencies point one way: cli, trainer, engine, bindings; and {@code java.lang.foreign} stops at the bindings. */
@AnalyzeClasses(packages = "subtext", importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
    private static final String[] ENGINE = {
        "subtext.engine..",
        "subtext.generate..",
        "subtext.io..",
        "subtext.model..",
        "subtext.random..",
        "subtext.text.."
    };
    private static final String[] TRAINER = {
        "subtext.data..",
        "subtext.train..",
        "subtext.em..",
        "subtext.evaluate..",
        "subtext.experiment..",
        "subtext.report..",
        "subtext.run..",
        "subtext.world.."
    };
    private static final String[] CLI = {"subtext.cli..", "subtext.launch.."};

    @ArchTest
    static final ArchRule everyPackageBelongsToAModuleNamedHere = classes()
            .should()
            .resideInAnyPackage(concat(new String[] {"subtext.bindings.."}, concat(ENGINE, concat(TRAINER, CLI))));

    @ArchTest
    static final ArchRule bindingsNeedNothingButTheJdk = classes()
            .that()
            .resideInAPackage("subtext.bindings..")
            .should()
            .onlyDependOnClassesThat(resideInAnyPackage("subtext.bindings..", "java.."));

    @ArchTest
    static final ArchRule engineKnowsNothingAbove = noClasses()
            .that()
            .resideInAnyPackage(ENGINE)
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(concat(TRAINER, CLI));

    @ArchTest
    static final ArchRule trainerKnowsNothingAbove = noClasses()
            .that()
            .resideInAnyPackage(TRAINER)
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(CLI);

    @ArchTest
    static final ArchRule rawBindingsArePrivate = noClasses()
            .that()
            .resideOutsideOfPackage("subtext.bindings..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("subtext.bindings.ffi..");

    @ArchTest
    static final ArchRule foreignFunctionsStopAtTheBindings = noClasses()
            .that()
            .resideOutsideOfPackage("subtext.bindings..")
            .should()
            .dependOnClassesThat(resideInAnyPackage("java.lang.foreign..")
                    .and(new DescribedPredicate<JavaClass>("other than memory itself") {
                        @Override
                        public boolean test(JavaClass type) {
                            // memory that is copied to a device or mapped from a file may be seen; nothing that calls
                            // native code
                            return !type.getSimpleName()
                                    .matches("MemorySegment|Arena|ValueLayout.*|Of[A-Z]\\w*|MemoryLayout");
                        }
                    }));

    @ArchTest
    static final ArchRule nothingThrowsABareRuntimeException = noClasses()
            .that()
            .doNotBelongToAnyOf(EngineException.class)
            .should()
            .callConstructor(RuntimeException.class)
            .orShould()
            .callConstructor(RuntimeException.class, String.class)
            .orShould()
            .callConstructor(RuntimeException.class, Throwable.class)
            .orShould()
            .callConstructor(RuntimeException.class, String.class, Throwable.class);

    private static String[] concat(String[] a, String[] b) {
        String[] both = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, both, a.length, b.length);
        return both;
    }
}
