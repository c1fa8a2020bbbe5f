// Line charts as SVG: panels below one another that share the horizontal axis.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace lora::cli {

using Points = std::vector<std::pair<double, double>>;

struct Line {
  enum class Style { strong, faint, dots };  // dots: a marker at each point and a dashed line between them
  Points points;
  size_t color = 0;  // lines of one number share a color
  Style style = Style::strong;
};

struct Panel {
  std::string title;
  std::vector<Line> lines;
  double share = 1;        // of the height
  bool from_zero = false;  // the vertical axis begins at 0
};

struct Chart {
  std::string x_title;
  std::vector<std::pair<std::string, size_t>> names;        // of the colors, for the legend
  std::vector<std::pair<std::string, Line::Style>> styles;  // and of the styles
  std::vector<Panel> panels;
};

std::string to_svg(const Chart& chart);

// Round numbers that divide [low, high] into about n parts: the first and the distance.
std::pair<double, double> round_ticks(double low, double high, int n);

}  // namespace lora::cli
