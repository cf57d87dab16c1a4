"""The public names of the report, imported on first use."""

from .context import Card as Card
from .context import Context as Context
from .context import Foreseen as Foreseen
from .context import Instead as Instead
from .context import Setting as Setting
from .context import Stage as Stage
from .page import render_page as render_page
from .page import render_pages as render_pages
from .page import write_html as write_html
from .page import write_page as write_page
from .record import read_record as read_record
from .record import write_record as write_record
from .text import as_text as as_text
