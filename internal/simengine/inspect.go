package simengine

import (
	"net/http"
	"strconv"
	"time"
)

func (e *Engine) inspectContainer(w http.ResponseWriter, ref string) {
	e.mu.Lock()
	c, err := e.find(ref)
	var out []byte
	if err == nil {
		out = c.appendInspect(make([]byte, 0, 2048), e)
	}
	e.mu.Unlock()
	if err != nil {
		failWith(w, err)
		return
	}
	answerRaw(w, http.StatusOK, append(out, '\n'))
}

func (c *container) appendInspect(b []byte, e *Engine) []byte {
	flag := func(key string, on bool) {
		b = append(append(append(b, `,"`...), key...), `":`...)
		b = strconv.AppendBool(b, on)
	}
	moment := func(key string, t time.Time) {
		b = append(append(append(b, `,"`...), key...), `":"`...)
		b = append(t.AppendFormat(b, time.RFC3339Nano), '"')
	}
	b = append(b, `{"Id":"`...)
	b = append(append(b, c.id...), '"')
	moment("Created", c.created)
	b = append(b, `,"Path":`...)
	b = appendText(b, c.path)
	b = append(b, `,"Args":[`...)
	for i, a := range c.args {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, a)
	}
	b = append(b, `],"State":{"Status":"`...)
	b = append(append(b, c.state...), '"')
	flag("Running", c.alive())
	flag("Paused", c.state == paused)
	b = append(b, `,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":`...)
	pid := int64(0)
	if c.alive() {
		pid = 4242
	}
	b = strconv.AppendInt(b, pid, 10)
	b = append(b, `,"ExitCode":`...)
	b = strconv.AppendInt(b, int64(c.exitCode), 10)
	b = append(b, `,"Error":""`...)
	moment("StartedAt", c.started)
	moment("FinishedAt", c.finished)
	b = append(b, `},"Image":"`...)
	b = append(b, c.image.id...)
	b = append(b, `","Name":`...)
	b = appendText(b, "/"+c.name)
	b = append(b, `,"RestartCount":0,"Driver":"overlay2","Platform":"linux","MountLabel":"","ProcessLabel":"","AppArmorProfile":"","ExecIDs":null,"HostConfig":`...)
	b = append(b, c.host...)
	b = append(b, `,"GraphDriver":{"Name":"overlay2","Data":null},"Mounts":[],"Config":`...)
	b = append(b, c.config...)
	b = append(b, `,"NetworkSettings":{"SandboxID":"","Ports":{`...)
	b = c.appendPortMap(b)
	b = append(b, `},"Networks":{"bridge":`...)
	b = c.appendEndpoint(b, e)
	return append(b, `}}}`...)
}
