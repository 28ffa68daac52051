#include "base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>

namespace moesaic {

void start_logging(int rank) {
  auto logger = std::make_shared<spdlog::logger>("moesaic", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern(rank == 0 ? "%v" : fmt::format("[rank {}] %v", rank));
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::err);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

}  // namespace moesaic
