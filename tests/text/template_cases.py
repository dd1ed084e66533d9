"""Conversations that chat templates are tried with: turns, tools, calls and their results, thinking."""

from __future__ import annotations

from typing import Any

USER = {"role": "user", "content": '  Wie warm ist es in Zürich? 🌡️ <b>"now"</b>\n'}
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "Ich weiß es nicht."}
THOUGHT = {"role": "assistant", "content": "<think>\nHm, 2 < 3.\n</think>\n\nZwei."}
AGAIN = {"role": "user", "content": "Und morgen?"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2}}}],
}
RESULT = {"role": "tool", "content": '{"celsius": 7}'}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'Tells the weather; "now" if no days are given.',
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
TOOLS = [WEATHER, {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]

CASES: dict[str, dict[str, Any]] = {
    "a question": {"messages": [USER]},
    "a question, no answer begun": {"messages": [USER], "add_generation_prompt": False},
    "a system message": {"messages": [SYSTEM, USER]},
    "several turns": {"messages": [SYSTEM, USER, ANSWER, AGAIN]},
    "a finished conversation": {"messages": [USER, ANSWER], "add_generation_prompt": False},
    "an earlier thought": {"messages": [USER, THOUGHT, AGAIN]},
    "a last thought": {"messages": [USER, THOUGHT], "add_generation_prompt": False},
    "thinking on": {"messages": [USER], "enable_thinking": True},
    "thinking off": {"messages": [SYSTEM, USER], "enable_thinking": False},
    "tools": {"messages": [USER], "tools": TOOLS},
    "tools and a system message": {"messages": [SYSTEM, USER], "tools": TOOLS},
    "tools, thinking off": {"messages": [USER], "tools": TOOLS, "enable_thinking": False},
    "a call and its result": {"messages": [SYSTEM, USER, CALL, RESULT], "tools": TOOLS},
    "a call, a result, an answer, a question": {"messages": [USER, CALL, RESULT, ANSWER, AGAIN], "tools": TOOLS},
}
FIXED = {"date_string": "26 Jul 2024"}  # Llama's template would take today's
