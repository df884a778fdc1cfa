package subtext.em;

import java.util.Optional;
import subtext.data.Dataset;
import subtext.train.EarlyStopping;
import subtext.train.TrainPlan;

/**
 * What a baseline trains on and how.
 *
 * @param dataset what
 * @param plan how
 * @param stopping early stopping, if it is part of the baseline
 * @param thinking whether the model thinks: it is then measured as one
 * @param note what a reader of its row should know
 */
record Recipe(Dataset dataset, TrainPlan plan, Optional<EarlyStopping> stopping, boolean thinking, String note) {}
