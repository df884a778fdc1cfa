package subtext.run;

import subtext.random.Philox;

/**
 * Named keys of one seed. Everything random in a run is drawn from one of these, so arms of a comparison that share a name share their
 * luck: all of them start from the same weights and see the same world.
 *
 * @param seed the number a person gives
 */
public record Seeds(long seed) {
    /** {@return key of the initial weights} */
    public long initialWeights() {
        return Philox.key(seed, "initial weights");
    }

    /** {@return key of the split of a corpus into its parts} */
    public long split() {
        return Philox.key(seed, "split");
    }

    /** {@return key of the chunk lengths: the same for every seed, since a text is always cut the same way} */
    public static long chunks() {
        return Philox.key(0, "chunks");
    }

    /**
     * {@return key of the order in which a training reads its documents}
     *
     * @param stage name of the training
     */
    public long shuffle(String stage) {
        return Philox.key(Philox.key(seed, "shuffle"), stage);
    }

    /**
     * {@return key of the coins between the two orders, prior and posterior}
     *
     * @param stage name of the training
     */
    public long coins(String stage) {
        return Philox.key(Philox.key(seed, "coins"), stage);
    }

    /** {@return key of the cut of the corpus into folds} */
    public long folds() {
        return Philox.key(seed, "folds");
    }

    /**
     * {@return key of the E-step of an iteration}
     *
     * @param iteration from 1
     */
    public long eStep(int iteration) {
        return Philox.key(Philox.key(seed, "E-step"), iteration);
    }

    /** {@return key of the draws on held-out documents: the same in every iteration, so that iterations differ by their models alone} */
    public long evaluation() {
        return Philox.key(seed, "evaluation");
    }
}
