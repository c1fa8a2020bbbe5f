// `lora plot`: metrics files of one or more runs as one picture.
#include "cli/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/path.h"
#include "base/plural.h"
#include "base/printable.h"
#include "base/same_file.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/metrics_file.h"
#include "cli/parse.h"
#include "cli/picture_png.h"
#include "cli/put.h"
#include "cli/smooth.h"
#include "cli/ticks.h"

namespace lora::cli {

namespace {

constexpr double kLossHeight = 320, kPanelHeight = 84;
constexpr double kHeightOfAnEnd = 16;  // what the value at a line's end takes
constexpr double kPngScale = 2;
// The highest value by the lowest from which on a logarithmic axis shows more.
constexpr double kLogLoss = 10, kLogNorm = 30;
constexpr size_t kMostWithValues = 4;   // runs; the values of more hide one another
constexpr size_t kMostSmoothed = 4000;  // points; a picture has fewer pixels

struct Run {
  std::string path, name;
  Metrics metrics;
  std::vector<double> x;
  double x_start = 0;  // before the first iteration
};

// What stands below the picture, and what it counts.
struct AxisUnit {
  std::string title;
  double size = 1;
  bool whole = false;
};

// File names alone where they tell the runs apart, else as they were given.
std::vector<std::string> names_of_runs(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) names.push_back(printable(without_ending(split_path(path).second)));
  std::vector<std::string> sorted = names;
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end())
    std::ranges::transform(paths, names.begin(), [](const std::string& path) { return printable(path); });
  return names;
}

void warn(const std::string& message) {
  say(stderr, "warning: " + message);
}

bool is_none(double value) {
  return std::isnan(value);
}

// What is not there to be drawn.
void warn_of_gaps(const Run& run) {
  const Metrics& m = run.metrics;
  for (const auto& [key, values] : {std::pair{"loss", &m.loss},
                                    {"lr", &m.lr},
                                    {"grad_norm", &m.grad_norm},
                                    {"tok_per_s", &m.tok_per_s}}) {
    const auto n = std::ranges::count_if(*values, is_none);
    if (n > 0)
      warn(fmt::format("{}: '{}' is no finite number in {} of {} iterations, left out", run.path, key, n,
                       values->size()));
  }
  if (m.n_val_loss_none > 0)
    warn(fmt::format("{}: 'val_loss' is no finite number in {}, left out", run.path,
                     count_of(m.n_val_loss_none, "evaluation")));
}

// Sets where each run's iterations lie.
AxisUnit place_on_axis(std::vector<Run>& runs, RunAxis axis) {
  AxisUnit unit;
  double most_seconds = 0;
  for (const Run& run : runs) most_seconds = std::max(most_seconds, run.metrics.seconds.back());
  if (axis == RunAxis::iterations) unit = {"iteration", 1, true};
  if (axis == RunAxis::epochs) unit = {"epochs"};
  if (axis == RunAxis::tokens) unit = {"tokens trained on", 1, true};
  if (axis == RunAxis::hours) {
    unit = most_seconds >= 3600 ? AxisUnit{"hours of training", 3600}
           : most_seconds >= 60 ? AxisUnit{"minutes of training", 60}
                                : AxisUnit{"seconds of training"};
  }
  for (Run& run : runs) {
    const Metrics& m = run.metrics;
    const bool is_whole = m.iter.front() <= 1;
    run.x = axis == RunAxis::iterations ? m.iter
            : axis == RunAxis::epochs   ? m.epoch
            : axis == RunAxis::tokens   ? m.tokens
                                        : m.seconds;
    for (size_t i = 0; i < run.x.size(); ++i) {
      if (is_none(run.x[i])) {
        constexpr std::array kKeys = {"iter", "epoch", "tokens", "dt_s"};
        fail("{}: iteration {}: no number '{}' in it, which this --x wants", run.path, m.iter[i],
             kKeys[size_t(axis)]);
      }
      run.x[i] /= unit.size;
    }
    if (!is_whole && (axis == RunAxis::tokens || axis == RunAxis::hours))
      warn(fmt::format("{}: begins at iteration {}: its {} are counted from there", run.path, m.iter.front(),
                       axis == RunAxis::tokens ? "tokens" : "hours"));
    run.x_start = axis == RunAxis::iterations            ? m.iter.front() - 1
                  : axis == RunAxis::epochs && !is_whole ? run.x.front()
                                                         : 0;
    if (std::ranges::all_of(m.loss, is_none)) fail("{}: the loss is no finite number in any line", run.path);
  }
  return unit;
}

Points points_of(const std::vector<double>& x, const std::vector<double>& y) {
  Points points;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!is_none(y[i])) points.emplace_back(x[i], y[i]);
  }
  return points;
}

// Without what single iterations scatter; the same points if nothing is to be smoothed.
Points course_of(const Points& points, std::optional<int64_t> smooth) {
  const auto n = int64_t(points.size());
  const int64_t window = std::min(n, smooth.value_or(n < 20 ? 0 : std::max<int64_t>(n / 10, 7)));
  if (window < 3 || n < 3) return points;
  // The means of as many neighbours as still leave more points than pixels, and half of a window.
  const int64_t block = std::max<int64_t>(1, std::min(n / int64_t(kMostSmoothed), window / 4));
  std::vector<double> x, y;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(n, begin + block);
    double sum_x = 0, sum_y = 0;
    for (int64_t i = begin; i < end; ++i) {
      sum_x += points[size_t(i)].first;
      sum_y += points[size_t(i)].second;
    }
    x.push_back(sum_x / double(end - begin));
    y.push_back(sum_y / double(end - begin));
  }
  return points_of(x, smoothed(y, window / block));
}

// The values and their course, or the values alone where these are the same. Of many runs the courses alone.
// Whether there is a course.
bool add_lines(Panel& panel, const Points& points, std::optional<int64_t> smooth, size_t hue,
               bool names_its_end, size_t n_runs) {
  Points course = course_of(points, smooth);
  const bool is_smoothed = course != points;
  if (is_smoothed && n_runs <= kMostWithValues) panel.lines.push_back({points, hue, Stroke::faint, false});
  panel.lines.push_back({std::move(course), hue, Stroke::strong, names_its_end});
  return is_smoothed;
}

void choose_axis(Panel& panel, LossAxis wanted, double ratio) {
  int64_t n_not_above_0 = 0;
  for (const Line& line : panel.lines)
    n_not_above_0 +=
        std::ranges::count_if(line.points, [](const auto& point) { return !(point.second > 0); });
  if (wanted == LossAxis::log) {
    panel.axis = ValueAxis::log;
    if (n_not_above_0 > 0)
      warn(fmt::format("{}: points not above 0, which a logarithmic axis has no place for, are left out: {}",
                       panel.title, n_not_above_0));
  } else if (wanted == LossAxis::automatic && n_not_above_0 == 0) {
    const auto [low, high] = values_to_show(panel);
    if (high / low > ratio) panel.axis = ValueAxis::log;
  }
}

// What a run's losses tell.
struct Losses {
  Points training, held_out;
  std::pair<double, double> start, best;  // best: the lowest held-out one, start without any
  bool start_is_held_out = false;
  std::string start_text, best_text;  // "start 3.490"; "best 2.319", "" without held-out losses
  double best_iteration = kNone;      // none: before training
};

Losses losses_of(const Run& run) {
  const Metrics& m = run.metrics;
  Losses losses = {points_of(run.x, m.loss), points_of(run.x, m.val_loss), {}, {}, false, "", "", kNone};
  losses.start_is_held_out = !is_none(m.val_loss_before);
  if (losses.start_is_held_out)
    losses.held_out.insert(losses.held_out.begin(), {run.x_start, m.val_loss_before});
  losses.start = losses.best = losses.start_is_held_out ? losses.held_out.front() : losses.training.front();
  losses.start_text = fmt::format("start {}", number_text(losses.start.second));
  if (losses.held_out.empty()) return losses;
  if (!losses.start_is_held_out) losses.best.second = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < m.iter.size(); ++i) {
    if (!(m.val_loss[i] < losses.best.second)) continue;
    losses.best = {run.x[i], m.val_loss[i]};
    losses.best_iteration = m.iter[i];
  }
  losses.best_text = fmt::format("best {}", number_text(losses.best.second));
  return losses;
}

// "best 2.319 at iteration 220"
std::string best_and_when(const Losses& losses) {
  if (losses.best_text.empty()) return "";
  if (is_none(losses.best_iteration)) return losses.best_text + " before training";
  return fmt::format("{} at iteration {}", losses.best_text, losses.best_iteration);
}

// Runs of one model that are tried on the same text.
bool begin_alike(const std::vector<Losses>& all) {
  return std::ranges::all_of(all, [&](const Losses& run) { return run.start_text == all[0].start_text; });
}

void add_marks(Panel& panel, const std::vector<Losses>& all) {
  if (all.size() == 1) {
    const Losses& run = all[0];
    const int hue = run.start_is_held_out ? 1 : 0;
    const bool one = !run.best_text.empty() && run.best == run.start;
    panel.marks.push_back({run.start.first, run.start.second, hue,
                           one ? "start and best " + run.start_text.substr(6) : run.start_text});
    if (!run.best_text.empty() && !one)
      panel.marks.push_back({run.best.first, run.best.second, 1, best_and_when(run), true});
    return;
  }
  // Of several runs the legend has the numbers, but for a start that they share.
  const bool shared = begin_alike(all);
  for (size_t i = 0; i < all.size(); ++i) {
    const Losses& run = all[i];
    if (!shared || i == 0)
      panel.marks.push_back(
          {run.start.first, run.start.second, shared ? -1 : int(i), shared ? run.start_text : ""});
    if (run.best != run.start) panel.marks.push_back({run.best.first, run.best.second, int(i), ""});
  }
}

struct LossPanel {
  Panel panel;
  bool is_smoothed = false;
};

LossPanel loss_panel(const std::vector<Losses>& all, const PlotOptions& options) {
  LossPanel result{{"loss (nats per token)", kLossHeight, ValueAxis::linear, {}, {}}};
  Panel& panel = result.panel;
  const bool alone = all.size() == 1;
  for (size_t i = 0; i < all.size(); ++i) {
    result.is_smoothed |= add_lines(panel, all[i].training, options.smooth, i, true, all.size());
    if (!all[i].held_out.empty()) panel.lines.push_back({all[i].held_out, alone ? 1 : i, Stroke::dots, true});
  }
  add_marks(panel, all);
  const auto n_ends = std::ranges::count_if(panel.lines, &Line::names_its_end);
  panel.height = std::max(panel.height, kHeightOfAnEnd * double(n_ends));
  choose_axis(panel, options.y, kLogLoss);
  return result;
}

std::vector<LegendEntry> legend_of(const std::vector<Run>& runs, const std::vector<Losses>& all,
                                   const LossPanel& loss) {
  std::vector<LegendEntry> legend;
  const bool alone = runs.size() == 1, starts = !begin_alike(all);
  for (size_t i = 0; i < runs.size() && !alone; ++i) {
    const std::string facts = fmt::format("{}{}{}", starts ? all[i].start_text : "",
                                          starts && !all[i].best_text.empty() ? ", " : "", all[i].best_text);
    legend.push_back(
        {facts.empty() ? runs[i].name : fmt::format("{} ({})", runs[i].name, facts), Stroke::strong, int(i)});
  }
  const auto has = [&](Stroke stroke) {
    return std::ranges::find(loss.panel.lines, stroke, &Line::stroke) != loss.panel.lines.end();
  };
  const int hue = alone ? 0 : -1;
  legend.push_back({loss.is_smoothed ? "training loss, smoothed" : "training loss", Stroke::strong, hue});
  if (has(Stroke::faint)) legend.push_back({"training loss of each iteration", Stroke::faint, hue});
  if (has(Stroke::dots)) legend.push_back({"held-out loss", Stroke::dots, alone ? 1 : -1});
  return legend;
}

Chart chart_of(std::vector<Run> runs, const PlotOptions& options) {
  const AxisUnit unit = place_on_axis(runs, options.x);
  std::vector<Losses> losses;
  for (const Run& run : runs) {
    warn_of_gaps(run);
    losses.push_back(losses_of(run));
  }
  Chart chart;
  chart.title = !options.title.empty() ? printable(options.title) : runs.size() == 1 ? runs[0].name : "";
  chart.x_title = unit.title;
  chart.x_whole = unit.whole;
  chart.theme = options.theme;
  LossPanel loss = loss_panel(losses, options);
  chart.legend = legend_of(runs, losses, loss);
  chart.description = "Losses of training.";
  for (size_t i = 0; const Line& line : loss.panel.lines) {
    if (line.stroke != Stroke::strong) continue;
    const std::string best = best_and_when(losses[i]);
    chart.description += fmt::format(" {}: {}, {}{}last {}.", runs[i].name, losses[i].start_text, best,
                                     best.empty() ? "" : ", ", number_text(line.points.back().second));
    ++i;
  }
  chart.panels.push_back(std::move(loss.panel));
  struct Column {
    const char* title;
    std::vector<double> Metrics::*values;
    bool smooth, from_zero;
  };
  for (const Column& column : {Column{"learning rate", &Metrics::lr, false, true},
                               {"gradient norm", &Metrics::grad_norm, true, false},
                               {"speed (tokens per second)", &Metrics::tok_per_s, true, true}}) {
    Panel panel{column.title, kPanelHeight, ValueAxis::linear, {}, {}};
    // More values at ends than have room beside a panel are named by none.
    const bool names_ends = double(runs.size()) * kHeightOfAnEnd <= kPanelHeight;
    for (size_t i = 0; i < runs.size(); ++i) {
      const Points points = points_of(runs[i].x, runs[i].metrics.*column.values);
      if (!points.empty())
        add_lines(panel, points, column.smooth ? options.smooth : 0, i, names_ends, runs.size());
    }
    if (panel.lines.empty()) continue;
    if (column.from_zero) {
      panel.axis = ValueAxis::linear_from_zero;
    } else {
      choose_axis(panel, options.y, kLogNorm);
    }
    chart.panels.push_back(std::move(panel));
  }
  return chart;
}

void expect_picture_name(const std::string& output) {
  if (output.ends_with(".svg")) return;
  if (!output.ends_with(".png")) {
    throw UsageError(fmt::format(
        "--output: {}: a picture is an SVG or a PNG file, so its name ends in .svg or .png", output));
  }
  const std::string why = why_no_png();
  if (!why.empty()) throw UsageError(fmt::format("--output: {}: {}, or name the picture .svg", output, why));
}

}  // namespace

void draw_runs(const std::vector<std::string>& metrics, const std::string& output,
               const PlotOptions& options) {
  expect_picture_name(output);
  if (metrics.size() > kMostHues)
    fail("{} runs: a picture has colors for {} at most: draw fewer", metrics.size(), kMostHues);
  const std::vector<std::string> names = names_of_runs(metrics);
  std::vector<Run> runs;
  for (size_t i = 0; i < metrics.size(); ++i) {
    if (!replaced_by(output, metrics[i]).empty()) fail("--output: {} is one of the metrics", output);
    runs.push_back({metrics[i], names[i], read_metrics(metrics[i]), {}, 0});
  }
  const Picture picture = draw(chart_of(std::move(runs), options));
  const bool is_png = output.ends_with(".png");
  const std::string bytes =
      is_png ? to_png(picture.svg, picture.width, picture.height, kPngScale) : picture.svg;
  AtomicFile file(output);
  file.write(bytes);
  file.commit();
}

int plot_command(const std::vector<std::string>& args) {
  std::vector<std::string> paths;
  std::string output, x = "iterations", y = "auto", theme = "auto";
  PlotOptions options;
  const CommandLine line = {
      "plot",
      "METRICS... -o FILE [flags]",
      "Draws the losses of one or more runs, with learning rate, gradient norm and speed: as SVG, which any "
      "browser "
      "shows, or as PNG. Marked are the loss at the start and the lowest held-out loss; at the right stand "
      "the last "
      "values. Where single iterations lie outside, arrowheads and the farthest value say so. Of more than "
      "four runs "
      "the smoothed lines are drawn alone.",
      {{"Files",
        {{"METRICS", "METRICS", "", "what finetune --metrics wrote, one file per run", texts(paths), true},
         {"-o,--output", "FILE", "", "picture to write, NAME.svg or NAME.png", non_empty_text(output),
          true}}},
       {"Picture",
        {{"--x", "AXIS", "", "iterations, epochs, tokens or hours",
          one_of(x, {"iterations", "epochs", "tokens", "hours"})},
         {"--y", "AXIS", "", "of losses and gradient norms: linear, log, or auto: log where they differ much",
          one_of(y, {"auto", "linear", "log"})},
         {"--smooth", "N", "",
          "iterations around each that make up its smoothed value, near ones counting more; 0: no smoothing",
          integer(options.smooth, 0).or_else("a tenth of the run")},
         {"--title", "TEXT", "", "above the picture",
          text(options.title).or_else("the name of a single run")},
         {"--theme", "COLORS", "", "light, dark, or auto: as the viewer of an SVG likes it; a PNG is light",
          one_of(theme, {"auto", "light", "dark"})}}}}};
  if (const Given given = parse_flags(line, args); given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  options.x = x == "epochs"   ? RunAxis::epochs
              : x == "tokens" ? RunAxis::tokens
              : x == "hours"  ? RunAxis::hours
                              : RunAxis::iterations;
  options.y = y == "log" ? LossAxis::log : y == "linear" ? LossAxis::linear : LossAxis::automatic;
  options.theme = theme == "dark" ? Theme::dark : theme == "light" ? Theme::light : Theme::automatic;
  draw_runs(paths, output, options);
  return 0;
}

}  // namespace lora::cli
