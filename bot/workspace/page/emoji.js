// The shortcodes that people and apps commonly write.

const LIST = `
+1 👍 thumbsup 👍 -1 👎 thumbsdown 👎 ok_hand 👌 clap 👏 wave 👋 raised_hands 🙌 pray 🙏 muscle 💪 point_right 👉
point_left 👈 point_up ☝️ point_down 👇 handshake 🤝 eyes 👀 brain 🧠 heart ❤️ green_heart 💚 blue_heart 💙
smile 😄 grin 😁 joy 😂 slightly_smiling_face 🙂 wink 😉 thinking_face 🤔 confused 😕 cry 😢 sob 😭 sweat_smile 😅
sunglasses 😎 party 🥳 partying_face 🥳 scream 😱 rage 😡 neutral_face 😐 sleeping 😴 robot_face 🤖 ghost 👻 skull 💀
white_check_mark ✅ heavy_check_mark ✔️ ballot_box_with_check ☑️ x ❌ negative_squared_cross_mark ❎ no_entry ⛔
no_entry_sign 🚫 octagonal_sign 🛑 warning ⚠️ rotating_light 🚨 bangbang ‼️ exclamation ❗ question ❓ information_source ℹ️
red_circle 🔴 large_orange_circle 🟠 large_yellow_circle 🟡 large_green_circle 🟢 large_blue_circle 🔵
large_purple_circle 🟣 white_circle ⚪ black_circle ⚫ large_green_square 🟩 large_red_square 🟥 large_yellow_square 🟨
large_blue_square 🟦 white_large_square ⬜ black_large_square ⬛ small_blue_diamond 🔹 large_blue_diamond 🔷
rocket 🚀 airplane ✈️ ship 🚢 construction 🚧 fire 🔥 boom 💥 zap ⚡ sparkles ✨ star ⭐ tada 🎉 trophy 🏆 dart 🎯
bulb 💡 bell 🔔 no_bell 🔕 mega 📣 loudspeaker 📢 mag 🔍 lock 🔒 unlock 🔓 key 🔑 shield 🛡️ hammer 🔨 wrench 🔧
gear ⚙️ link 🔗 paperclip 📎 pushpin 📌 bookmark 🔖 memo 📝 pencil 📝 pencil2 ✏️ clipboard 📋 page_facing_up 📄
bar_chart 📊 chart_with_upwards_trend 📈 chart_with_downwards_trend 📉 calendar 📅 date 📅 clock1 🕐 stopwatch ⏱️
timer_clock ⏲️ hourglass ⌛ hourglass_flowing_sand ⏳ alarm_clock ⏰ arrow_up ⬆️ arrow_down ⬇️ arrow_right ➡️
arrow_left ⬅️ arrow_forward ▶️ rewind ⏪ fast_forward ⏩ leftwards_arrow_with_hook ↩️ arrows_counterclockwise 🔄 repeat 🔁
double_vertical_bar ⏸️ pause_button ⏸️ black_square_for_stop ⏹️ stop_button ⏹️ play_or_pause_button ⏯️ recycle ♻️
package 📦 inbox_tray 📥 outbox_tray 📤 email 📧 speech_balloon 💬 thought_balloon 💭 computer 💻 globe_with_meridians 🌐
earth_africa 🌍 bug 🐛 bee 🐝 seedling 🌱 herb 🌿 ocean 🌊 snowflake ❄️ ice_cube 🧊 sunny ☀️ moon 🌙 coffee ☕ pizza 🍕
cake 🍰 beers 🍻 gift 🎁 money_with_wings 💸 credit_card 💳 shopping_trolley 🛒 scales ⚖️ test_tube 🧪 microscope 🔬
triangular_flag_on_post 🚩 checkered_flag 🏁 waving_white_flag 🏳️ vertical_traffic_light 🚦 traffic_light 🚥 sos 🆘
new 🆕 ok 🆗 one 1️⃣ two 2️⃣ three 3️⃣ four 4️⃣ five 5️⃣ 100 💯 wastebasket 🗑️ ladder 🪜 thread 🧵 control_knobs 🎛️
`.trim().split(/\s+/);

export const EMOJI = new Map();
for (let index = 0; index < LIST.length; index += 2) EMOJI.set(LIST[index], LIST[index + 1]);

export const QUICK = ["+1", "white_check_mark", "eyes", "tada", "heart", "question"];

/** The picture of a shortcode, or the shortcode as it was written. */
export function emoji(name) {
  return EMOJI.get(name.split("::")[0]) || `:${name}:`;
}
