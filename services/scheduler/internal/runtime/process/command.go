package process

import (
	"os/exec"
	"path/filepath"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentinit"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/commandhost"
)

// command starts the host that runs the version: that of Python apps, that of workflows
// on Node, or that of any other program, which is this program again.
func (a *agent) command() *exec.Cmd {
	if program := a.version.launch.Document.Program; program != nil {
		if program.Worker != nil && a.role != agentenv.RoleServer {
			return agentinit.Command(a.runtime.options.Init, program.Worker.Node, filepath.Join(a.runtime.host, filepath.FromSlash(agenthost.NodeWorker)), string(a.role))
		}
		path, args := commandhost.Command()
		return agentinit.Command("", path, args...) // the path is that of its first process
	}
	python := filepath.Join(a.version.launch.Artifact.GetEnvironmentPath(), "bin", "python")
	return agentinit.Command(a.runtime.options.Init, python, "-X", "utf8", filepath.Join(a.runtime.host, "agentcloud_host"), string(a.role))
}

// environment is all that an agent sees of the machine. Secrets come with the launch
// document. A version that is no Python app need not have a venv.
func environment(venv, scratch string) []string {
	env := []string{
		"PATH=" + searchPath(venv),
		"HOME=" + filepath.Join(scratch, "home"), "TMPDIR=" + filepath.Join(scratch, "tmp"), "LANG=C.UTF-8", "OPENBLAS_NUM_THREADS=1",
		"PYTHONDONTWRITEBYTECODE=1",
	}
	if venv == "" {
		return env
	}
	return append(env, "VIRTUAL_ENV="+venv)
}

func searchPath(venv string) string {
	const usual = "/usr/local/bin:/usr/bin:/bin"
	if venv == "" {
		return usual
	}
	return filepath.Join(venv, "bin") + ":" + usual
}
