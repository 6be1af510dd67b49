"""The page put together."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from gradsight.pages.web.api import Api
from gradsight.pages.web.context import Page
from gradsight.pages.web.evaluation_tab import EvaluationTab
from gradsight.pages.web.photo_tab import PhotoTab
from gradsight.pages.web.run_tab import RunTab

CSS = Path(__file__).with_name("page.css")

_HEAD = """
<div class="gs-head"><h1>gradsight</h1>
<p>What did the model look at when it decided? Bright places spoke most for a class.</p></div>
"""

# Gradio's own parts that screen readers stumble over, mended once they are there.
SCRIPT = """
() => {
  document.documentElement.lang = 'en';
  const mend = () => {
    const names = [['#photo input[type=file]', 'Choose a photo'], ['#photo button.icon', 'Photo']];
    for (const [where, name] of names)
      for (const one of document.querySelectorAll(where))
        if (!one.getAttribute('aria-label')) one.setAttribute('aria-label', name);
  };
  new MutationObserver(mend).observe(document.body, {childList: true, subtree: true});
  mend();
}
"""


def theme() -> gr.themes.Base:
    """Gradio's, with the fonts of the visitor's own system: nothing is fetched for it."""
    fonts = ["system-ui", "sans-serif"]
    made = gr.themes.Default(primary_hue=gr.themes.colors.blue, font=fonts, font_mono=["ui-monospace", "monospace"])
    # Gradio's own greys are too pale to be read by everybody.
    return made.set(
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
    )


def blocks(page: Page) -> gr.Blocks:
    """The page with its three tabs and its API.

    Args:
        page: what it shows.
    """
    # Files that are an hour old are deleted: by then nobody looks at them.
    with gr.Blocks(title="gradsight", analytics_enabled=False, delete_cache=(600, 3600), fill_width=False) as made:
        # Before the tabs, whose handlers would else take the names.
        Api(page).build()
        gr.HTML(_HEAD)
        with gr.Tabs():
            with gr.Tab("Photo"):
                PhotoTab(page).build()
            with gr.Tab("Run"):
                opened = RunTab(page).build()
            with gr.Tab("Evaluation"):
                EvaluationTab(page).build()
        if opened is not None:
            opened(made)
    made.queue(max_size=page.limits.waiting, default_concurrency_limit=4, api_open=False)
    return made
