/** Cells in rows and columns that pointer and arrow keys walk; the first row is the lowest, as layers lie. */
import { h, setAttribute } from "../../dom.js";

export interface Place {
  row: number;
  column: number;
}

export interface CellsOptions {
  /** A cell that is looked at; null: none is any more. */
  look: (place: Place | null) => void;
  /** A click, or Enter. */
  press: (place: Place) => void;
}

export const cellAt = ({ row, column }: Place, text = ""): HTMLElement =>
  h("span", { role: "gridcell", tabindex: -1, "data-row": row, "data-column": column }, text);

export function walked(element: HTMLElement, { look, press }: CellsOptions) {
  let cells: HTMLElement[][] = [];
  let cursor: Place = { row: 0, column: 0 };

  const at = ({ row, column }: Place): HTMLElement | undefined => cells[row]?.[column];
  const placeOf = (target: EventTarget | null): Place | null => {
    const cell = (target as Element).closest<HTMLElement>("[role=gridcell]");
    return cell && { row: Number(cell.dataset.row), column: Number(cell.dataset.column) };
  };

  function move(place: Place): void {
    setAttribute(at(cursor) ?? element, "tabindex", "-1");
    cursor = place;
    setAttribute(at(cursor) ?? element, "tabindex", "0");
  }

  element.addEventListener("pointerover", ({ target }) => look(placeOf(target)));
  element.addEventListener("pointerleave", () => look(null));
  element.addEventListener("focusin", ({ target }) => {
    const place = placeOf(target);
    if (!place) return;
    move(place);
    look(place);
  });
  element.addEventListener("focusout", () => look(null));
  element.addEventListener("click", ({ target }) => {
    const place = placeOf(target);
    if (place) press(place);
  });
  element.addEventListener("keydown", (event) => {
    const place = placeOf(event.target);
    if (!place || event.ctrlKey || event.metaKey || event.altKey) return;
    const { row, column } = place;
    const moves: Record<string, Place> = {
      ArrowUp: { row: row + 1, column },
      ArrowDown: { row: row - 1, column },
      ArrowLeft: { row, column: column - 1 },
      ArrowRight: { row, column: column + 1 },
      PageUp: { row: cells.length - 1, column },
      PageDown: { row: 0, column },
      Home: { row, column: 0 },
      End: { row, column: cells[row].length - 1 },
    };
    if (event.key === "Enter" || event.key === " ") press(place);
    else if (moves[event.key]) at(moves[event.key])?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    /** Takes other cells; the focus stays among them, at `start`, where it was there. */
    take(next: HTMLElement[][], start: Place, put: () => void): void {
      const held = element.contains(document.activeElement) && placeOf(document.activeElement) !== null;
      cells = next;
      put();
      cursor = start;
      move(start);
      if (held) at(start)?.focus();
    },
    focus: (place: Place): void => at(place)?.focus(),
  };
}
