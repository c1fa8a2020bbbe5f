// Line charts as SVG: panels below one another that share the horizontal axis. What is drawn depends on the
// chart alone: the same bytes on every machine. Lengths are in pixels of a picture that is not scaled.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lora::cli {

using Points = std::vector<std::pair<double, double>>;

// Colors that color-blind people tell apart, each with a few patterns of dashes: what a picture can hold.
inline constexpr size_t kMostColors = 7, kMostHues = 3 * kMostColors;

enum class Stroke { strong, faint, dots };  // dots: a ring at each point

struct Line {
  Points points;   // rising in x; finite
  size_t hue = 0;  // below kMostHues: lines of one thing share a hue
  Stroke stroke = Stroke::strong;
  bool names_its_end = false;  // the last value, at the right of the panel
};

// A point with a word to it, in the hue of its line.
struct Mark {
  double x, y;
  int hue;              // -1: of several lines, in grey
  std::string text;     // "": none
  bool guided = false;  // with a line down to the axis
};

enum class ValueAxis { linear, linear_from_zero, log };

struct Panel {
  std::string title;
  double height;
  ValueAxis axis = ValueAxis::linear;
  std::vector<Line> lines;
  std::vector<Mark> marks;
};

enum class Theme { automatic, light, dark };  // automatic: as the viewer likes it

struct LegendEntry {
  std::string text;
  Stroke stroke;
  int hue = -1;  // none: a sample in grey
};

struct Chart {
  std::string title;        // "": none
  std::string description;  // for those who hear the picture
  std::string x_title;
  bool x_whole = false;  // x counts something
  std::vector<LegendEntry> legend;
  std::vector<Panel> panels;
  Theme theme = Theme::automatic;
};

struct Picture {
  std::string svg;
  double width = 0, height = 0;
};

Picture draw(const Chart& chart);

// The values that a panel's vertical axis has to reach: all but the few of faint lines that lie far above or
// below the rest and would press the curves together; where these are, the picture says so. {0, 1} of
// nothing.
std::pair<double, double> values_to_show(const Panel& panel);

}  // namespace lora::cli
