#include "data/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "data/data_test_util.h"

namespace lora {
namespace batch_test {

using testing::ElementsAre;

// Samples of 1, 2, 3, 1, 2, 3 ... input tokens of the letters vocabulary, the n-th made of the n-th letter.
Dataset letter_samples(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) {
    text += '#';
    text.append(size_t(i % 3 + 2), char('a' + i % 26));
  }
  TextOptions options;
  options.sample_start = "#";
  options.n_ctx = 8;
  return dataset_of(text, letters_tokenizer(false), options);
}

BatchOptions in_order(int64_t n_ctx, int64_t n_batch) {
  BatchOptions options;
  options.n_ctx = n_ctx;
  options.n_batch = n_batch;
  options.shuffle = false;
  return options;
}

std::vector<std::pair<int64_t, int64_t>> segments(const Batch& batch) {
  std::vector<std::pair<int64_t, int64_t>> result;
  for (const BatchSegment& s : batch.segments) result.emplace_back(s.begin, s.length);
  return result;
}

using Segments = std::vector<std::pair<int64_t, int64_t>>;

TEST(Batch, IsOneSegmentPerSampleWithoutPadding) {
  Batch batch;
  EXPECT_EQ(next_batch(batch, letter_samples(6), in_order(8, 3), 0), 3u);
  EXPECT_EQ(segments(batch), (Segments{{0, 1}, {1, 2}, {3, 3}}));
  EXPECT_THAT(batch.inputs, ElementsAre(0, 1, 1, 2, 2, 2));
  EXPECT_THAT(batch.targets, ElementsAre(0, 1, 1, 2, 2, 2));
  EXPECT_THAT(batch.positions, ElementsAre(0, 0, 1, 0, 1, 2));
  EXPECT_EQ(batch.n_targets, 6);
}

TEST(Batch, FilledRowsHoldWholeSamplesAndOneCut) {
  BatchOptions options = in_order(5, 2);
  options.fill_with_next_samples = true;
  Batch batch;
  // Rows: a bb cc(c), d ee ff(f)
  EXPECT_EQ(next_batch(batch, letter_samples(6), options, 0), 6u);
  EXPECT_THAT(batch.inputs, ElementsAre(0, 1, 1, 2, 2, 3, 4, 4, 5, 5));
  EXPECT_EQ(segments(batch), (Segments{{0, 1}, {1, 2}, {3, 2}, {5, 1}, {6, 2}, {8, 2}}));
  EXPECT_THAT(batch.positions, ElementsAre(0, 0, 1, 0, 1, 0, 0, 1, 0, 1));
}

TEST(Batch, PlainFillMakesARowOneSegmentWithPositionsRunningOn) {
  BatchOptions options = in_order(5, 2);
  options.fill_with_next_samples = true;
  options.plain_fill = true;
  Batch batch;
  EXPECT_EQ(next_batch(batch, letter_samples(6), options, 0), 6u);
  EXPECT_THAT(batch.inputs, ElementsAre(0, 1, 1, 2, 2, 3, 4, 4, 5, 5));
  EXPECT_EQ(segments(batch), (Segments{{0, 5}, {5, 5}}));
  EXPECT_THAT(batch.positions, ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 3, 4));
}

TEST(Batch, RowFilledExactlyTakesNoFurtherSample) {
  BatchOptions options = in_order(3, 1);
  options.fill_with_next_samples = true;
  Batch batch;
  EXPECT_EQ(next_batch(batch, letter_samples(6), options, 0), 2u);
  EXPECT_EQ(segments(batch), (Segments{{0, 1}, {1, 2}}));
}

TEST(Batch, SamplesLongerThanTheRowAreCut) {
  Batch batch;
  EXPECT_EQ(next_batch(batch, letter_samples(3), in_order(2, 1), 2), 3u);
  EXPECT_THAT(batch.inputs, ElementsAre(2, 2));
  EXPECT_EQ(batch.n_targets, 2);
}

TEST(Batch, RunsOverTheEndOfAnEpoch) {
  Batch batch;
  EXPECT_EQ(next_batch(batch, letter_samples(2), in_order(8, 3), 1), 4u);
  EXPECT_THAT(batch.inputs, ElementsAre(1, 1, 0, 1, 1));
}

TEST(Batch, ReplacesWhatItHeld) {
  const Dataset dataset = letter_samples(6);
  Batch used, fresh;
  const uint64_t cursor = next_batch(used, dataset, in_order(8, 3), 0);
  next_batch(used, dataset, in_order(8, 3), cursor);
  next_batch(fresh, dataset, in_order(8, 3), cursor);
  EXPECT_EQ(used.inputs, fresh.inputs);
  EXPECT_EQ(segments(used), segments(fresh));
  EXPECT_EQ(used.n_targets, fresh.n_targets);
}

TEST(SampleOrder, EachEpochVisitsEverySampleOnce) {
  const Dataset dataset = letter_samples(23);
  BatchOptions options;
  options.seed = 42;
  std::vector<int64_t> all(23);
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::vector<int64_t>> epochs;
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> visited;
    for (uint64_t i = 0; i < 23; ++i) visited.push_back(sample_at(dataset, options, epoch * 23 + i));
    epochs.push_back(visited);
    EXPECT_TRUE(std::is_permutation(visited.begin(), visited.end(), all.begin(), all.end()))
        << "epoch " << epoch;
    EXPECT_NE(visited, all);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  options.seed = 43;
  EXPECT_NE(sample_at(dataset, options, 0) * 1000 + sample_at(dataset, options, 1) * 30 +
                sample_at(dataset, options, 2),
            epochs[0][0] * 1000 + epochs[0][1] * 30 + epochs[0][2]);
}

TEST(SampleOrder, WithoutShuffleIsFileOrderInEveryEpoch) {
  const Dataset dataset = letter_samples(5);
  const BatchOptions options = in_order(8, 1);
  for (uint64_t cursor = 0; cursor < 15; ++cursor) {
    EXPECT_EQ(sample_at(dataset, options, cursor), int64_t(cursor % 5));
  }
}

TEST(SampleOrder, ResumingFromACursorContinuesTheRun) {
  const Dataset dataset = letter_samples(23);
  BatchOptions options;
  options.n_ctx = 7;
  options.n_batch = 3;
  options.fill_with_next_samples = true;
  options.seed = 5;
  std::vector<Tokens> continuous;
  std::vector<uint64_t> cursors = {0};
  Batch batch;
  for (int i = 0; i < 12; ++i) {
    cursors.push_back(next_batch(batch, dataset, options, cursors.back()));
    continuous.push_back(batch.inputs);
  }
  const Dataset read_again = letter_samples(23);
  uint64_t cursor = cursors[5];
  for (size_t i = 5; i < 12; ++i) {
    Batch resumed;
    cursor = next_batch(resumed, read_again, options, cursor);
    EXPECT_EQ(resumed.inputs, continuous[i]) << "batch " << i;
    EXPECT_EQ(cursor, cursors[i + 1]);
  }
}

}  // namespace batch_test
}  // namespace lora
