#include "train/setup.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/machine.h"
#include "base/printable.h"
#include "base/random.h"
#include "base/version.h"
#include "chat/chat_template.h"
#include "data/character_card.h"
#include "data/record_file.h"
#include "kernels/isa.h"
#include "train/cut_text.h"
#include "train/sample_text.h"

namespace lora {
namespace {

// Before the first of them is read, which may take long.
void expect_readable(const FinetuneOptions& options) {
  for (const auto* paths : {&options.train_data, &options.val_data}) {
    for (const std::string& path : *paths) const MappedFile can_be_opened(path);
  }
  if (!options.card.empty()) read_character_card(options.card);
}

// An adapter goes on being trained with the rotary settings it has.
void take_rotary_settings(const FinetuneOptions& options, const Adapter& init, RopeParameters& rope) {
  if (!options.rope_freq_base && init.rope_freq_base) rope.freq_base = double(*init.rope_freq_base);
  if (!options.rope_freq_scale && init.rope_freq_scale) rope.freq_scale = double(*init.rope_freq_scale);
}

// Whether the date goes into what is trained on: through a template that writes it. Throws Error for a
// template that is asked for and cannot be run.
bool writes_date(const FinetuneOptions& options, const Tokenizer& tokenizer) {
  const auto is_records = [](const std::string& path) { return record_format(path).has_value(); };
  const bool has_records = std::ranges::any_of(options.train_data, is_records);
  const bool is_asked_for = options.chat_template != "auto";
  if (!has_records && !is_asked_for) return false;
  try {
    return ChatTemplates(options.chat_template, tokenizer, options.model_base, {}).use_date() && has_records;
  } catch (const Error&) {
    if (is_asked_for) throw;
    return false;  // data without conversations needs no template; else it is an error when they are read
  }
}

// A run goes on with the date that it began with.
std::optional<DateTime> date_of(const Checkpoint& checkpoint) {
  for (const auto& [name, value] : checkpoint.state.changeable) {
    if (name == "--date") return parse_date(value);
  }
  return std::nullopt;
}

// "" where the checkpoint does not say, too, but for what every run was trained with before there was a flag.
std::string changes_of(const Settings& then, const Settings& now) {
  static const std::map<std::string, std::string> kBeforeTheFlag = {{"--schedule", "cosine"},
                                                                    {"--lora-plus", "1"}};
  std::string line;
  for (const auto& [name, value] : now) {
    const auto found = std::ranges::find(then, name, &std::pair<std::string, std::string>::first);
    const auto silent = kBeforeTheFlag.find(name);
    if (then.empty() || (found == then.end() && silent == kBeforeTheFlag.end())) continue;
    const std::string& before = found == then.end() ? silent->second : found->second;
    if (before == value) continue;
    line += fmt::format("{}{} {} in place of {}", line.empty() ? "note: from here on " : ", ", name, value,
                        printable(before));
  }
  return line;
}

}  // namespace

Setup::Setup(const FinetuneOptions& o, const Say& say, int64_t more_program_bytes)
    : options(o),
      program_bytes_(int64_t(resident_bytes() - resident_anonymous_bytes()) + more_program_bytes),
      resume(find_checkpoint(o)),
      resumed(!resume.path.empty()),
      pool(o.threads > 0 ? o.threads : o.cluster.default_threads()),
      model(load_model(o.model_base, {o.rope_freq_base, o.rope_freq_scale, o.norm_rms_eps})),
      arithmetic(arithmetic_of(model, o.precision)),
      tokenizer(model.gguf),
      data(read_data(say)) {
  if (!options.val_data.empty()) val_data.emplace(options.val_data, tokenizer, sample_options(), pool);
  program_bytes_ +=
      int64_t(resident_anonymous_bytes()) - parameter_bytes_;  // which are counted by themselves
  settings.emplace_back("data", fmt::format("{:016x}", data.file_hash()));
  // How the same file is written down depends on its templates, and on this program's version.
  if (!data.report().chat_templates.empty())
    settings.emplace_back("conversations", fmt::format("{:016x}", data.token_hash()));
  if (resumed) expect_fits(resumed_settings_, resume.path, settings, typed_names(options));

  const int64_t n_ctx_train = model.config.n_ctx_train;
  expect_whole(options, data.report(), "--train-data", n_ctx_train);
  if (val_data) {
    expect_whole(options, val_data->report(), "--val-data", n_ctx_train);
    held_out = val_data->side_by_side();
  } else if (options.val_split > 0) {
    SampleSplit split = split_samples(data, options.val_split, state.seed, options.n_ctx);
    trained = std::move(split.trained);
    held_out = std::move(split.held_out);
  }
  batch_options = {options.n_ctx,      options.n_batch,    options.shuffle, fills_rows(options),
                   options.plain_fill, state.shuffle_seed, trained};
  n_iter = iteration_count(options, n_samples());
  sample_prompt = lora::sample_prompt(*this);
  go_on_in_the_same_precision();
  note_changes();
  expect_same_everywhere();
}

// What the first process decides for all: the seed, the date and the checkpoint, which is on its disk.
std::optional<Checkpoint> Setup::shared_beginning() {
  const Cluster& cluster = options.cluster;
  std::optional<Checkpoint> checkpoint;
  if (cluster.is_alone()) {
    if (resumed) checkpoint = read_found(options, resume.path, read_checkpoint);
    state.seed = options.seed < 0 ? entropy_seed() : uint64_t(options.seed);
    date_ = options.date ? *options.date : today();
    return checkpoint;
  }
  std::vector<std::byte> bytes;
  if (cluster.is_first() && resumed) {
    checkpoint = read_found(options, resume.path, read_checkpoint);
    const MappedFile file(resume.path);
    bytes.assign(file.bytes().begin(), file.bytes().end());
  }
  bytes = cluster.from_first(std::move(bytes));
  resume.path = cluster.from_first(resume.path);
  resumed = !resume.path.empty();
  if (resumed && !cluster.is_first()) {
    const Gguf gguf = Gguf::parse(bytes, resume.path);
    verify_checkpoint(bytes, gguf);
    checkpoint = parse_checkpoint(gguf);
  }
  state.seed = std::stoull(
      cluster.from_first(std::to_string(options.seed < 0 ? entropy_seed() : uint64_t(options.seed))));
  date_ = parse_date(cluster.from_first(date_text(options.date ? *options.date : today())));
  return checkpoint;
}

// What decides the bytes or what comes next, and is read by each process from its own disk and machine.
void Setup::expect_same_everywhere() {
  if (options.cluster.is_alone()) return;
  Settings rows = {{"version", std::string(program_version())}};
  if (!options.allow_mixed) {
    rows.emplace_back("kernel set (--allow-mixed takes both)", instructions_text());
  }
  rows.insert(rows.end(), settings.begin(), settings.end());
  for (const auto& row : state.changeable) {
    // Kernel sets may multiply other floats.
    if (!options.allow_mixed || row.first != "--precision") rows.push_back(row);
  }
  const auto add = [&](const char* row, const auto& value) {
    rows.emplace_back(row, fmt::format("{}", value));
  };
  add("--val-data", val_data ? val_data->file_hash() : 0);
  add("iterations", n_iter);
  add("--pipeline", options.pipeline);
  add("--eval-every", options.eval_every);
  add("--patience", options.patience);
  add("--adam-epsf", options.adam_epsf);
  add("--opt-past", options.opt_past);
  add("--opt-delta", options.opt_delta);
  add("--opt-max-no-improvement", options.opt_max_no_improvement);
  add("--adam-gclip", options.adam_gclip);
  add("--sample-prompt", options.sample_prompt.value_or(""));
  add("--force-reshuffle", options.force_reshuffle);
  uint64_t start = 0;
  for (const auto* buffer : {&parameters.values, &parameters.m, &parameters.v}) {
    start =
        hash({reinterpret_cast<const char*>(buffer->data()), size_t(buffer->size()) * sizeof(float)}, start);
  }
  add("values to begin with", start);
  options.cluster.expect_same(rows);
  if (options.allow_mixed) mixed = options.cluster.who_differs(computed_with(arithmetic));
}

TextOptions Setup::sample_options() const {
  TextOptions samples = text_options(options);
  samples.chat_settings.now = *date_;
  return samples;
}

Dataset Setup::read_data(const Say& say) {
  expect_readable(options);
  is_dated_ = writes_date(options, tokenizer);
  const auto before = int64_t(resident_anonymous_bytes());
  prepare_parameters(say);
  parameter_bytes_ = int64_t(resident_anonymous_bytes()) - before;
  return Dataset(options.train_data, tokenizer, sample_options(), pool);
}

void Setup::prepare_parameters(const Say& say) {
  std::optional<Checkpoint> checkpoint = shared_beginning();
  if (is_dated_ && checkpoint && !options.date) date_ = date_of(*checkpoint).value_or(*date_);
  if (checkpoint && options.seed < 0) state.seed = checkpoint->state.seed;
  state.shuffle_seed = state.seed;
  std::optional<Adapter> init;
  if (!options.lora_init.empty()) {
    init = read_adapter(options.lora_init, model.gguf, {pool.size(), say});
    take_rotary_settings(options, *init, model.config.rope);
  }
  parameters = initial_parameters(options, model, state.seed, init);
  settings = run_settings(options, model, parameters);
  settings.emplace_back("--seed", std::to_string(state.seed));
  if (checkpoint) {
    expect_fits(checkpoint->settings, resume.path, settings, typed_names(options));
    expect_fits(*checkpoint, resume.path, parameters);
    resumed_settings_ = std::move(checkpoint->settings);
    state = std::move(checkpoint->state);
    parameters = std::move(checkpoint->parameters);
    lbfgs = std::move(checkpoint->lbfgs);
    if (options.force_reshuffle) {
      state.shuffle_seed = random_bits(state.seed, Purpose::shuffle, uint64_t(state.iteration), ~uint64_t{0});
      state.shuffle_begin = state.cursor;
    }
  }
  if (!options.lora_out.empty() &&
      std::ranges::all_of(parameters.pairs, [](const auto& pair) { return pair.is_norm(); })) {
    fail("--lora-out: only norms are trained, which an adapter file leaves out (--lora-out '' writes none)");
  }
  if (options.pipeline > 1 && reads_embedding(model) &&
      std::ranges::count(parameters.pairs, kTokenEmbedding, &LoraParameters::Pair::base) > 0) {
    fail(
        "--pipeline: all stages of {} read the token embedding, whose adapter only one of them can train "
        "(--rank-tok-embd 0)",
        options.model_base);
  }
  parameters.dropout = float(options.lora_dropout);
  attach(model, parameters);
  norms = TrainedNorms(model, parameters);
}

void Setup::note_changes() {
  Settings now = changeable_settings(options, n_iter, arithmetic);
  if (is_dated_) now.emplace_back("--date", date_text(*date_));
  changed = changes_of(state.changeable, now);
  state.changeable = std::move(now);
}

// What `auto` chooses must not hang on how much memory there is, else the seed would not decide the bytes;
// nor does a run that was stopped change, though it began in floats on purpose.
void Setup::go_on_in_the_same_precision() {
  const auto began = std::ranges::find(state.changeable, "--precision", &Settings::value_type::first);
  const bool in_floats =
      began != state.changeable.end() && began->second == name(Arithmetic(arithmetic.floats));
  if (options.precision == Precision::automatic && in_floats) arithmetic = arithmetic.floats;
}

int64_t Setup::row() const {
  const int64_t trained_on = row_length(options, data);
  return val_data ? std::max(trained_on, row_length(options, *val_data)) : trained_on;
}

OtherMemory Setup::other_memory() const {
  // Of the adapter, what a checkpoint held is there already.
  const int64_t trained_size = adapter_bytes();
  const int64_t held = std::clamp<int64_t>(parameter_bytes_, 0, trained_size);
  return {program_bytes_ + held, trained_size - held + sample_bytes(*this)};
}

void Setup::plan_memory() {
  plan = make_plan(options, model, row(), other_memory(), arithmetic, pool.size());
}

void Setup::plan_memory(int stage) {
  options.stage = stage;
  plan_memory();
}

int64_t Setup::adapter_bytes() const {
  if (options.pipeline == 1) return trained_bytes(options, parameters.memory_bytes());
  const OwnedByStage owned = owned_by_stage(options, model, parameters);
  int64_t summed = 0;
  for (const Share& s : owned[size_t(stage_of(options))]) summed += s.end - s.begin;
  return trained_bytes(options, parameters.memory_bytes(), summed);
}

std::vector<MemoryPart> Setup::memory_parts() const {
  std::vector<MemoryPart> parts = {
      {"program, vocabulary and samples", program_bytes_},
      {"adapter and optimizer", adapter_bytes()},
      {"layers' inputs", plan.input_bytes},
      {fmt::format("activations ({} of {} layers kept)", plan.n_kept, plan.n_backward()),
       plan.activation_bytes},
      {"workspace", plan.workspace_bytes},
      {"threads and tables", plan.other_bytes},
  };
  if (!sample_prompt.empty()) parts.push_back({"continuing the sample prompt", sample_bytes(*this)});
  return parts;
}

int64_t Setup::memory_bytes() const {
  int64_t sum = 0;
  for (const MemoryPart& part : memory_parts()) sum += part.bytes;
  return sum;
}

double Setup::mean_samples() const {
  const double rows = double(options.n_batch * options.grad_acc);
  if (!fills_rows(options)) return rows;
  constexpr int64_t kRows = 100, kLongRow = 10'000;
  if (options.n_ctx > kLongRow) return rows * double(options.n_ctx) / mean_sample_tokens();
  BatchOptions row = batch_options;
  row.n_batch = 1;
  Batch batch;
  uint64_t cursor = 0;
  for (int64_t i = 0; i < kRows; ++i) cursor = next_batch(batch, data, row, cursor);
  return rows * double(cursor) / double(kRows);
}

double Setup::mean_tokens() const {
  return double(options.n_batch * options.grad_acc) *
         (fills_rows(options) ? double(options.n_ctx) : mean_sample_tokens());
}

double Setup::mean_sample_tokens() const {
  constexpr int64_t kMost = 1000;
  const int64_t n = n_samples(), step = std::max<int64_t>(1, n / kMost);
  BatchOptions in_order = batch_options;
  in_order.shuffle = false;
  std::vector<Token> inputs, targets;
  double tokens = 0, seen = 0;
  for (int64_t i = 0; i < n; i += step, ++seen) {
    data.sample(sample_at(data, in_order, uint64_t(i)), inputs, targets);
    tokens += double(inputs.size());
  }
  return tokens / seen;
}

}  // namespace lora
