/** What a person has chosen or typed and not sent yet, by message or modal. */
const places = new Map();

const INITIAL = {
  checkboxes: (element) => (element.initial_options || []).map((option) => option.value),
  multi_static_select: (element) => (element.initial_options || []).map((option) => option.value),
  multi_external_select: (element) => (element.initial_options || []).map((option) => option.value),
  radio_buttons: (element) => element.initial_option?.value,
  static_select: (element) => element.initial_option?.value,
  external_select: (element) => element.initial_option?.value,
  datepicker: (element) => element.initial_date,
  plain_text_input: (element) => element.initial_value,
};

const elementsOf = (block) =>
  ["section", "actions", "input"].includes(block.type)
    ? [block.accessory, block.element, ...(block.elements || [])].filter((element) => element?.type in INITIAL)
    : [];

const nameOf = (block, element) => `${block.block_id} ${element.action_id}`;

/** The choices in one message or modal. As in Slack, they belong to a block_id: a new id starts without any. */
export function choicesOf(place) {
  if (!places.has(place)) places.set(place, new Map());
  const chosen = places.get(place);
  return {
    get: (block, element) => {
      const name = nameOf(block, element);
      return chosen.has(name) ? chosen.get(name) : INITIAL[element.type]?.(element);
    },
    set: (block, element, value) => chosen.set(nameOf(block, element), value),
    /** Keep what these blocks show now: as in Slack, a new initial value counts only under a new id. */
    keep: (blocks) => {
      for (const block of blocks) {
        for (const element of elementsOf(block)) {
          const name = nameOf(block, element);
          if (!chosen.has(name)) chosen.set(name, INITIAL[element.type](element) ?? null);
        }
      }
    },
    /** Return what the person has chosen in these blocks, by action_id, without untouched elements. */
    made: (blocks) =>
      Object.fromEntries(
        blocks.flatMap((block) =>
          elementsOf(block)
            .filter((element) => chosen.has(nameOf(block, element)))
            .map((element) => [element.action_id, chosen.get(nameOf(block, element)) ?? null]),
        ),
      ),
  };
}

/** Drop every choice, because another person acts in this window now. */
export const forgetChoices = () => places.clear();
