// `lora plot`: metrics files of one or more runs as one picture.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_depth.h"
#include "base/printable.h"
#include "base/same_file.h"
#include "cli/chart.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/progress.h"
#include "cli/put.h"
#include "data/text_file.h"

namespace lora::cli {

namespace {

struct Curves {
  Points raw, smoothed, held_out, learning_rate;
};

enum class Axis { iterations, tokens };

Setting axis(Axis& target) {
  return {[&target](const std::vector<std::string>& values) {
            const std::string name = lower_case(values.at(0));
            if (name != "iterations" && name != "tokens")
              throw BadValue(fmt::format("expected iterations or tokens, found '{}'", values[0]));
            target = name == "tokens" ? Axis::tokens : Axis::iterations;
          },
          [&target] { return std::string(target == Axis::tokens ? "tokens" : "iterations"); }};
}

// A line that a running program has not finished yet is left out.
Curves read_metrics(const std::string& path, Axis x_axis, double smooth) {
  const MappedFile file(path);
  const std::string_view text = file.text();
  expect_text(text, path);
  Curves curves;
  SmoothedLoss smoothed{smooth};
  double tokens = 0;
  int64_t number = 0;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string_view::npos; begin = end + 1) {
    ++number;
    const std::string_view line = text.substr(begin, end - begin);
    const auto record = nests_too_deep(line) ? nlohmann::json() : nlohmann::json::parse(line, nullptr, false);
    const auto value = [&](const char* key) {
      const auto found = record.is_object() ? record.find(key) : record.end();
      if (!record.is_object() || found == record.end() || !found->is_number())
        fail("{}: line {}: expected a JSON object with a number '{}', as finetune --metrics writes it", path,
             number, key);
      return std::clamp(found->get<double>(), -1e100, 1e100);  // so that sums and distances stay finite
    };
    const double iteration = value("iter"), loss = value("loss"), lr = value("lr");
    tokens += value("tokens");
    const double x = x_axis == Axis::tokens ? tokens : iteration;
    curves.raw.emplace_back(x, loss);
    curves.smoothed.emplace_back(x, smoothed.add(loss));
    curves.learning_rate.emplace_back(x, lr);
    if (record.contains("val_loss") && !record["val_loss"].is_null())
      curves.held_out.emplace_back(x, value("val_loss"));
  }
  if (curves.raw.empty()) fail("{}: no line of metrics in it", path);
  return curves;
}

// File names alone where they tell the runs apart, else as they were given.
std::vector<std::string> names_of_runs(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    names.push_back(printable(std::filesystem::path(path).stem().string()));
  }
  for (size_t i = 0; i < names.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (names[i] != names[k]) continue;
      for (size_t n = 0; n < paths.size(); ++n) names[n] = printable(paths[n]);
      return names;
    }
  }
  return names;
}

Chart chart_of(const std::vector<std::string>& paths, Axis x_axis, double smooth) {
  using enum Line::Style;
  Panel loss{"loss, in nats per token", {}, 3, false}, rate{"learning rate", {}, 1, true};
  bool held_out = false;
  for (size_t i = 0; i < paths.size(); ++i) {
    Curves curves = read_metrics(paths[i], x_axis, smooth);
    held_out |= !curves.held_out.empty();
    loss.lines.push_back({std::move(curves.raw), i, faint});
    loss.lines.push_back({std::move(curves.smoothed), i, strong});
    loss.lines.push_back({std::move(curves.held_out), i, dots});
    rate.lines.push_back({std::move(curves.learning_rate), i, strong});
  }
  Chart chart;
  chart.x_title = x_axis == Axis::tokens ? "tokens trained on" : "iteration";
  const std::vector<std::string> names = names_of_runs(paths);
  for (size_t i = 0; i < names.size(); ++i) chart.names.emplace_back(names[i], i);
  chart.styles = {{"each iteration", faint}, {"smoothed", strong}};
  if (held_out) chart.styles.emplace_back("held out", dots);
  chart.panels = {std::move(loss), std::move(rate)};
  return chart;
}

}  // namespace

int plot_command(const std::vector<std::string>& args) {
  std::vector<std::string> paths;
  std::string output;
  Axis x_axis = Axis::iterations;
  double smooth = 0.9;
  const CommandLine line = {
      "plot",
      "METRICS... -o FILE [flags]",
      "Draws loss, held-out loss and learning rate of one or more runs, as SVG: any browser shows it.",
      {{"Files",
        {{"METRICS", "METRICS", "", "what finetune --metrics wrote, one file per run", texts(paths), true},
         {"-o,--output", "FILE", "", "picture to write, NAME.svg", non_empty_text(output), true}}},
       {"Picture",
        {{"--x", "AXIS", "", "iterations or tokens", axis(x_axis)},
         {"--smooth", "F", "", "how much an iteration counts of what the next one does; 0: no smoothing",
          number(smooth, {.min = 0, .max = 1, .below_max = true})}}}}};
  if (const Given given = parse_flags(line, args); given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  if (!output.ends_with(".svg")) {
    throw UsageError(
        fmt::format("--output: {}: the picture is an SVG file, so its name ends in .svg", output));
  }
  const Chart chart = chart_of(paths, x_axis, smooth);
  for (const std::string& path : paths) {
    if (!replaced_by(output, path).empty()) fail("--output: {} is one of the metrics", output);
  }
  AtomicFile file(output);
  file.write(to_svg(chart));
  file.commit();
  return 0;
}

}  // namespace lora::cli
