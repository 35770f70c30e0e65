// Asks a service before a request goes on, and adds a header with what it answers.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() {
	proxywasm.SetVMContext(&vmContext{})
}

type vmContext struct {
	types.DefaultVMContext
}

func (*vmContext) NewPluginContext(uint32) types.PluginContext {
	return &pluginContext{}
}

type pluginContext struct {
	types.DefaultPluginContext
}

func (*pluginContext) NewHttpContext(uint32) types.HttpContext {
	return &httpContext{}
}

type httpContext struct {
	types.DefaultHttpContext
}

func (c *httpContext) OnHttpRequestHeaders(int, bool) types.Action {
	headers := [][2]string{{":method", "GET"}, {":path", "/check"}, {":authority", "service"}}
	if _, err := proxywasm.DispatchHttpCall("service", headers, nil, nil, 5000, c.onReply); err != nil {
		proxywasm.LogCriticalf("calling the service: %v", err)
		return types.ActionContinue
	}
	return types.ActionPause
}

func (*httpContext) onReply(int, int, int) {
	headers, err := proxywasm.GetHttpCallResponseHeaders()
	if err != nil {
		proxywasm.LogCriticalf("reading the reply: %v", err)
	}
	for _, header := range headers {
		if header[0] != ":status" {
			continue
		}
		if err := proxywasm.AddHttpRequestHeader("x-bench-status", header[1]); err != nil {
			proxywasm.LogCriticalf("adding a request header: %v", err)
		}
	}
	if err := proxywasm.ResumeHttpRequest(); err != nil {
		proxywasm.LogCriticalf("resuming: %v", err)
	}
}
