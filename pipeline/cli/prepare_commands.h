// `trib prepare` on the command line.
#pragma once

namespace CLI {
class App;
}

namespace trib::pipeline {

class Registry;

/// Add the command; running it sets `exit_code`.
void add_prepare_command(CLI::App& app, const Registry& registry, int& exit_code);

}  // namespace trib::pipeline
